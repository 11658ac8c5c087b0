"""`headposekit PROGRAM`: one command for all programs, light where little is needed, the same in a checkout and in a wheel."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from configs import compose_config, write_checkpoint
from conftest import SHARED
from headposekit import __main__ as command
from headposekit import paths, process
from headposekit.extensions import choices
from headposekit.weights.export import describe_export, export_network
from headposekit.weights.load import fuse, load_all

FOR_TRAINING = (
    "pytorch_lightning",
    "lightning_fabric",
    "torchmetrics",
    "albumentations",
    "wandb",
    "matplotlib",
    "optuna",
    "jinja2",
)
LOAD = """
import importlib.abc, runpy, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

hidden = {*sys.argv[1].split(","), "hydra", "omegaconf"}
sys.meta_path.insert(0, Hide())
picture, *networks = sys.argv[2:]
from headposekit import load
from headposekit.detectors.whole import WholePicture
for path in networks:
    (pose,) = load(path, detector=WholePicture())(picture)
    print(*pose.pose)
hidden -= {"hydra", "omegaconf"}
sys.argv = ["headposekit", "predict", f"checkpoint={networks[0]}", f"input={picture}", "detector=none", "output=poses"]
runpy.run_module("headposekit", run_name="__main__")
"""


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["headposekit", *arguments])
    command.main()


def test_overview_lists_the_programs_on_one_screen_without_torch() -> None:
    code = "import sys; from headposekit.__main__ import main; main(); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    listed = re.findall(r"^  (\w+)  ", done.stdout, re.MULTILINE)
    assert listed == list(command.PROGRAMS)
    scripts = {path.stem for path in (paths.ROOT / "src").glob("*.py")}
    assert set(listed) == scripts == {path.stem for path in paths.CONF.glob("*.yaml")} - {"training"}


def test_unknown_program_is_told_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^error: no such program: trian; choose predict, demo, train"):
        call(monkeypatch, "trian", "epochs=1")


def test_missing_package_is_said_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "headposekit.cli.train", None)
    with pytest.raises(ModuleNotFoundError):  # a fault of ours
        call(monkeypatch, "train")

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'wandb'", name="wandb")

    monkeypatch.setattr(command.importlib, "import_module", missing)
    wanted = r"error: train needs the package wandb; install it with pip install 'headposekit\[train\]'"
    with pytest.raises(SystemExit, match=wanted):
        call(monkeypatch, "train")


def test_other_processes_of_a_training_are_started_without_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(command, "run", called.append)
    monkeypatch.setenv(command.STARTED, "train")
    with pytest.raises(SystemExit, match="no such program: epochs=1"):
        call(monkeypatch, "epochs=1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    call(monkeypatch, "epochs=1")
    assert called == ["train"]
    assert sys.argv == ["headposekit", "epochs=1"]


def test_a_wheel_calls_its_programs_by_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert paths.typed("train") == "python src/train.py"
    assert paths.process_of("train") == [sys.executable, str(paths.ROOT / "src" / "train.py")]
    for variable in ("HEADPOSEKIT_RUNS", "HEADPOSEKIT_DATASETS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(paths, "IS_INSTALLED", True)
    monkeypatch.chdir(tmp_path)
    assert paths.typed("train") == "headposekit train"
    assert paths.process_of("train")[-3:] == ["-m", "headposekit", "train"]
    assert (paths.runs_dir(), paths.datasets_dir()) == (tmp_path / "runs", tmp_path / "datasets")


@pytest.mark.parametrize("program", command.PROGRAMS)
def test_help_says_what_a_program_does_and_its_examples_work(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{program}.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(paths.ROOT / "src" / f"{program}.py"), run_name="__main__")
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert len(lines) <= 30
    assert "docs/config.md" in text
    assert f"{paths.typed(program)} --cfg job" in text
    examples = [line for line in lines if line.startswith(f"  {paths.typed(program)}") and "--cfg" not in line]
    assert 4 <= len(examples) <= 6
    assert lines.index(examples[0]) <= 4  # before anything else but what it does
    for example in examples:
        words = [word for word in shlex.split(example, comments=True)[2:] if word != "-m"]
        compose_config(program, *words)
    for line in lines[lines.index(next(line for line in lines if line.startswith("Groups"))) + 1 :]:
        if group := re.match(r"  (\w+)  +\S", line):
            assert choices(group[1]), group[1]
    assert not list(tmp_path.iterdir())


def test_prediction_needs_no_package_of_training(tmp_path: Path) -> None:
    """A file of each kind is opened without Hydra too, and predict finds the same."""
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    networks = [write_checkpoint(tmp_path / "net.ckpt")]
    members = load_all(networks)
    network = fuse(members)
    for name in ("net.onnx", "net.safetensors"):
        export_network(network, describe_export(members, network), tmp_path / name, None, int8=False)
        networks.append(tmp_path / name)
    published = SHARED / "fsanet_official" / "ssrnet_mt.h5"
    if published.is_file():
        networks.append(published)
    arguments = [sys.executable, "-c", LOAD, ",".join(FOR_TRAINING), str(picture), *map(str, networks)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    poses = [[float(angle) for angle in line.split()] for line in done.stdout.splitlines()[: len(networks)]]
    assert poses[1] == pytest.approx(poses[0], abs=1e-3)
    assert poses[2] == pytest.approx(poses[0], abs=1e-3)
    header, row = (line.split(",") for line in (tmp_path / "poses" / "poses.csv").read_text().splitlines())
    found = dict(zip(header, row, strict=True))
    assert [float(found[angle]) for angle in ("yaw", "pitch", "roll")] == pytest.approx(poses[0], abs=0.01)


@pytest.mark.parametrize(("variable", "ends"), [("LOCAL_RANK", True), ("OTHER", False)])
def test_a_process_that_lightning_started_ends_with_the_first(monkeypatch, variable: str, ends: bool) -> None:
    called: list[str] = []
    monkeypatch.setattr(process, "die_with_parent", lambda: called.append("dies"))
    monkeypatch.setitem(sys.modules, "headposekit.cli.train", SimpleNamespace(train=lambda: called.append("train")))
    monkeypatch.setattr(command.importlib, "import_module", lambda name: sys.modules[name])
    monkeypatch.setenv(variable, "1")
    command.run("train")
    assert called == (["dies"] if ends else []) + ["train"]
