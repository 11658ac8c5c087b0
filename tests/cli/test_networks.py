import json
import os
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from headposekit.cli.networks import compile_network, newest_default_training
from headposekit.errors import InputError
from headposekit.models.ssrnet import SSRNetMD
from headposekit.paths import ROOT
from headposekit.sweeps.resolvers import register_resolvers
from headposekit.training import PoseEvaluator
from headposekit.training.identity import train_id


def test_compiling_keeps_the_names_of_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda call, mode: asked.append(mode) or call)
    module, plain = PoseEvaluator(SSRNetMD()), PoseEvaluator(SSRNetMD())
    compile_network(module, None)
    assert module.compiled is None
    compile_network(module, "reduce-overhead")
    assert asked == ["reduce-overhead"]
    assert list(module.state_dict()) == list(plain.state_dict())


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="compile=quick is unknown; choose default"):
        compile_network(PoseEvaluator(SSRNetMD()), "quick")


def test_default_checkpoint_is_that_of_the_newest_finished_default_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: str, content: str, age: int, *names: str) -> None:
        (tmp_path / folder / "checkpoints").mkdir(parents=True)
        (tmp_path / folder / "results.json").write_text(content)
        os.utime(tmp_path / folder / "results.json", (10**9 - age, 10**9 - age))
        for name in names:
            (tmp_path / folder / "checkpoints" / name).touch()

    monkeypatch.setenv("HEADPOSEKIT_RUNS", str(tmp_path))
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        wanted, other = train_id(compose("train")), train_id(compose("train", ["seed=1"]))
        finished = json.dumps({"status": "finished", "train_id": wanted})
        write(f"a_{other}", json.dumps({"status": "finished", "train_id": other}), 0, "best.ckpt")
        write(f"b_{wanted}", '{"status": "runn', 0, "last.ckpt")
        write(f"c_{wanted}", json.dumps({"status": "running", "train_id": wanted}), 0, "last.ckpt")
        assert newest_default_training() is None
        write(wanted, finished, 50, "last.ckpt")
        write(f"z_{wanted}", finished, 90, "best.ckpt", "last.ckpt")
        assert newest_default_training() == tmp_path / wanted / "checkpoints" / "last.ckpt"
        write(f"d_{wanted}", finished, 10, "best.ckpt", "last.ckpt")
        assert newest_default_training() == tmp_path / f"d_{wanted}" / "checkpoints" / "best.ckpt"
