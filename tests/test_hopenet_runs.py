"""Hopenet through the entry points: the same commands as for FSA-Net."""

from pathlib import Path

import torch
import torchvision

from run_folders import SMALL, TESTS, only_run, results, rows

NETWORK = ("model=hopenet", "backbone=resnet18", "crop.size=64")


def test_resume_and_evaluation_are_those_of_one_run(run, roots, aflw2000_root: Path, tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "imagenet.pth")
    options = (*roots, *SMALL, *NETWORK, "epochs=2", "model.backbone.checkpoint_path=imagenet.pth", "augmentation=lowres")
    whole = run("train", *options, f"hydra.run.dir={tmp_path}/whole")
    assert whole.returncode == 0, whole.stderr
    killed = run("train", *options, "+callbacks.kill={_target_: interrupt.Kill, epoch: 1}", PYTHONPATH=TESTS)
    assert killed.returncode == -9
    resumed = run("train", *options, "resume=auto")
    assert resumed.returncode == 0, resumed.stderr
    folder = only_run(tmp_path)
    assert results(folder)["test"] == results(tmp_path / "whole")["test"]
    assert float(rows(folder / "metrics.csv")[-1]["val/std"]) > 0

    (tmp_path / "imagenet.pth").unlink()  # a checkpoint needs nothing beside it
    last = f"checkpoint={folder}/checkpoints/last.ckpt"
    evaluated = run("evaluate", last, "test=[aflw2000]", f"test.aflw2000.root={aflw2000_root}", "hydra.run.dir=evaluated")
    assert evaluated.returncode == 0, evaluated.stderr
    errors = results(tmp_path / "evaluated")["test"]["aflw2000"]
    ours = results(folder)["test"]["aflw2000"]
    several = ("test.aflw2000.perturb.low_resolution=[1,15]", "hydra.run.dir=several")
    evaluated = run("evaluate", last, "test=[aflw2000]", f"test.aflw2000.root={aflw2000_root}", *several)
    assert evaluated.returncode == 0, evaluated.stderr
    each = results(tmp_path / "several")["test"]
    assert each["aflw2000_x1"]["last"] == errors["last"] != each["aflw2000_x15"]["last"]
    assert each["aflw2000_x15"]["rules"]["perturb"] == {"low_resolution": 15}
    assert errors["crop"] == ours["crop"] == "hopenet"
    assert abs(errors["last"]["mae"] - ours["last"]["mae"]) < 1e-4

    both = f"checkpoint=[{folder}/checkpoints/last.ckpt,{tmp_path}/whole/checkpoints/last.ckpt]"
    fused = run("evaluate", both, "test=[aflw2000]", f"test.aflw2000.root={aflw2000_root}", "hydra.run.dir=fused")
    assert fused.returncode == 0, fused.stderr
    together = results(tmp_path / "fused")
    assert together["test"]["aflw2000"]["last"] == errors["last"]  # the mean of two equal networks
    assert together["params"] == 2 * results(folder)["params"]


def test_two_processes_keep_a_frozen_stem_as_it_was(run, roots, tmp_path: Path) -> None:
    imagenet = torchvision.models.resnet18().state_dict()
    torch.save(imagenet, tmp_path / "imagenet.pth")
    options = (*SMALL[:-1], *NETWORK, "model.backbone.checkpoint_path=imagenet.pth", "module.stem_lr=0", "epochs=1")
    done = run("train", *roots, *options, "trainer=ddp_cpu")
    assert done.returncode == 0, done.stderr
    folder = only_run(tmp_path)
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    still = {"conv1.weight": True, "bn1.weight": True, "layer1.0.conv1.weight": False, "layer4.1.bn2.weight": False}
    assert {name: torch.equal(state[f"model.backbone.trunk.{name}"], imagenet[name]) for name in still} == still
    assert results(folder)["test"]["aflw2000"]["n"] == len(rows(folder / "predictions_aflw2000.csv")) == 10


def test_regression_baseline_trains(run, roots, tmp_path: Path) -> None:
    options = (*SMALL, "model=hopenet_regression", "backbone=alexnet", "model.backbone.pretrained=false", "crop.size=64")
    done = run("train", *roots, *options, "epochs=1", "optimizer.lr=1e-4")
    assert done.returncode == 0, done.stderr
    assert results(only_run(tmp_path))["status"] == "finished"
