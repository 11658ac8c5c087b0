import functools
from pathlib import Path

import pytest
import torch

from benchmarks.training import benchmark_loop
from headposekit.training.muon import Muon
from headposekit.training.schedules import WarmupCosine


def test_loop_of_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rates = benchmark_loop(functools.partial(Muon), WarmupCosine, 4, 8, 1, torch.device("cpu"))
    for name in ("empty", "ours", "ours_bar"):
        assert rates[f"{name}_steps_per_second"]["median"] > 0
    assert not list(tmp_path.iterdir())
