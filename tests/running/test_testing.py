from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from headpose.datamodules import AFLW2000DataModule
from headpose.errors import InputError
from headpose.geometry.conventions import pose_to_pyr
from headpose.geometry.crops import FSANetCrop
from headpose.modules import PoseEvaluator
from headpose.running.testing import check_sets, run_tests


class Constant(nn.Module):
    """Predicts the same pose for everyone."""

    input_size = 64

    def __init__(self, *pose: float) -> None:
        super().__init__()
        self.pose = torch.tensor(pose)

    def forward(self, batch: Any) -> SimpleNamespace:
        return SimpleNamespace(pose=self.pose.expand(len(batch["image"]), 3))


def trainer() -> pl.Trainer:
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)


def test_errors_are_those_of_the_labels(aflw2000_root: Path, tmp_path: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop(), batch_size=3)
    results: dict[str, Any] = {"test": {}}
    run_tests(trainer(), PoseEvaluator(Constant(0, 0, 0)), {"aflw2000": datamodule}, results, "last", tmp_path)
    expected = abs(datamodule.dataset.pose).mean(axis=0)
    entry = results["test"]["aflw2000"]
    assert [entry["last"][a] for a in ("yaw", "pitch", "roll")] == pytest.approx(expected.tolist(), abs=1e-5)
    assert (entry["n"], entry["filtered"]) == (10, 2)
    assert (tmp_path / "predictions_aflw2000.csv").read_text().count("\n") == 11


def test_errors_are_measured_in_the_angles_of_the_test_set(aflw2000_root: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop())
    results: dict[str, Any] = {"test": {}}
    module = PoseEvaluator(Constant(20, 10, -30))
    for name, order in (("pyr", "pyr"), ("ypr", "ypr")):
        datamodule.euler_order = order  # type: ignore[assignment]
        run_tests(trainer(), module, {name: datamodule}, results, "last")
    other = pose_to_pyr([20.0, 10.0, -30.0]) - pose_to_pyr(datamodule.dataset.pose)
    expected = abs((other + 180) % 360 - 180).mean(axis=0)
    found = {name: [results["test"][name]["last"][a] for a in ("yaw", "pitch", "roll")] for name in ("pyr", "ypr")}
    assert found["pyr"] == pytest.approx(expected.tolist(), abs=1e-4)
    assert max(abs(a - b) for a, b in zip(*found.values(), strict=True)) > 0.1
    assert results["test"]["pyr"]["last"]["geodesic"] == results["test"]["ypr"]["last"]["geodesic"]


def test_nan_is_refused_before_anything_is_written(aflw2000_root: Path, tmp_path: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop())
    with pytest.raises(InputError, match="the network predicts NaN"):
        run_tests(
            trainer(), PoseEvaluator(Constant(float("nan"), 0, 0)), {"aflw2000": datamodule}, {"test": {}}, "last", tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_crops_of_another_size_are_refused(aflw2000_root: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop(size=32))
    with pytest.raises(InputError, match=r"crop\.size=32, but Constant takes 64 pixels"):
        check_sets(PoseEvaluator(Constant(0, 0, 0)), {"test.aflw2000": datamodule})
