"""docs/extending.md, followed to the letter: every part it shows is trained with, and no file of the project is touched."""

import csv
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from headposekit import load
from headposekit.demo.compare import Comparison
from headposekit.detectors.whole import WholePicture
from headposekit.errors import InputError
from headposekit.extensions import is_extension
from headposekit.weights.checkpoint import load_checkpoint
from pages import ROOT, commands_of, write_files_of
from run_folders import by_method, results

PAGE = ROOT / "docs" / "extending.md"
SMALL = ("epochs=1", "data.batch_size=8", "trainer=cpu")
FOGGY = {
    "_target_": "headposekit.data.augmentation.Augmentation",
    "mirror": 0.5,
    "rotation": 10.0,
    "pipeline": [{"_target_": "fog.Fog", "most": 0.3, "p": 0.5}],
}
HEADS = ("data.num_heads=48", "data.val_fraction=0.25", "test.synthetic.num_heads=8")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the page makes."""
    write_files_of(PAGE, tmp_path)
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "mine"))
    monkeypatch.setenv("HEADPOSEKIT_DATASETS", str(tmp_path / "datasets"))
    for path in (tmp_path / "mine").glob("*.py"):  # another test's folder had modules of the same names
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    yield tmp_path / "mine"
    for path in (tmp_path / "mine").glob("*.py"):
        sys.modules.pop(path.stem, None)


def command(start: str, script: str = "train") -> list[str]:
    """The page's own command that begins so, without the program."""
    (line,) = [line for line in commands_of(PAGE) if line.startswith(f"python src/{script}.py {start}")]
    return shlex.split(line)[2:]


def assert_done(done: Any) -> None:
    assert done.returncode == 0, done.stderr


def only_results(tmp_path: Path) -> tuple[Path, dict]:
    (path,) = tmp_path.glob("runs/*/results.json")
    return path.parent, results(path.parent)


@pytest.mark.parametrize(
    ("start", "targets"),
    [
        ("loss=huber", {"loss": {"_target_": "huber.Huber", "delta": 5}}),
        ("augmentation=foggy", {"data": {"augmentation": FOGGY}}),
        ("model=pose head=two_rows", {"model": {"head": {"_target_": "columns.TwoRows"}}, "loss": {"near": 5.0}}),
        ("model=hopenet backbone=tiny", {"model": {"backbone": {"_target_": "tiny.Tiny", "width": 8}}}),
    ],
)
def test_loss_augmentation_and_trunk(run: Callable, mine: Path, tmp_path: Path, start: str, targets: dict) -> None:
    done = run("train", *command(start), *SMALL, *HEADS)
    assert done.returncode == 0, done.stderr
    config = only_results(tmp_path)[1]["config"]
    for key, expected in targets.items():
        assert {**config[key], **expected} == config[key]


def test_network_is_trained_and_its_checkpoint_opens_where_the_folder_is_named(
    run: Callable, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("train", *command("model=pooled"), *SMALL, *HEADS)
    assert done.returncode == 0, done.stderr
    folder, trained = only_results(tmp_path)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    again = run("evaluate", f"checkpoint={checkpoint}", "test=[synthetic]", HEADS[-1], "hydra.run.dir=tested")
    assert again.returncode == 0, again.stderr
    tested = results(tmp_path / "tested")
    assert tested["params"] == 3 * (3 * 4 * 4) + 3
    assert tested["test"]["synthetic"]["last"] == pytest.approx(trained["test"]["synthetic"]["last"])

    picture = np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    exported = tmp_path / "pooled.onnx"
    assert_done(run("export", f"checkpoint={checkpoint}", "format=onnx", f"output={exported}"))
    estimators = [load(path, detector="none", device="cpu") for path in (checkpoint, exported)]
    by_checkpoint, by_export = (estimator(picture[..., ::-1])[0].pose for estimator in estimators)
    assert by_export == pytest.approx(by_checkpoint, abs=1e-3)
    assert_done(run("predict", f"checkpoint={checkpoint}", "input=face.png", "detector=none", "hydra.run.dir=predicted"))
    (row,) = csv.DictReader((tmp_path / "predicted" / "poses.csv").open())
    assert float(row["yaw"]) == pytest.approx(by_checkpoint[0], abs=1e-2)
    shown = Comparison({"pooled": estimators[0]}, {"none": WholePicture()})((tmp_path / "face.png").read_bytes(), "none")
    assert shown["faces"][0]["poses"][0]["yaw"] == pytest.approx(by_checkpoint[0], abs=1e-2)

    monkeypatch.delenv("HEADPOSEKIT_EXTENSIONS")
    with pytest.raises(InputError, match=r"target pooled\.Pooled is not one of this suite's .*HEADPOSEKIT_EXTENSIONS"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "target", ["pooled.nn.Linear", "pooled.Preprocess", "json.JSONEncoder", "os.system", "conf.x", "pooled"]
)
def test_an_extension_opens_no_door_to_other_code(mine: Path, tmp_path: Path, target: str) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "headposekit": {"format": 1, "model": {"_target_": target}, "crop": {}}}, path)
    with pytest.raises(InputError, match=f"target {target} is not one"):
        load_checkpoint(path)


def test_file_that_is_named_like_a_package_hides_nothing(mine: Path) -> None:
    (mine / "torchvision.py").write_text("raise RuntimeError('imported')")
    assert is_extension("pooled.Pooled")
    assert not is_extension("torchvision.ops.nms")


def test_data_set_to_train_on_and_to_test_with(run: Callable, mine: Path, tmp_path: Path) -> None:
    root, rng = tmp_path / "pictures", np.random.default_rng(0)
    root.mkdir()
    for number in range(24):
        cv2.imwrite(str(root / f"{number:02}.png"), rng.integers(0, 255, (80, 90, 3), dtype=np.uint8))
        label = {"pose": rng.uniform(-60, 60, 3).tolist(), "box": [20, 10, 70, 65]}
        (root / f"{number:02}.json").write_text(json.dumps(label))
    options = [option.replace("DIR", str(root)) for option in command("data=turntable")]
    done = run("train", *options, *SMALL)
    assert done.returncode == 0, done.stderr
    content = only_results(tmp_path)[1]
    assert (content["train"]["dataset"], content["test"]["turntable"]["n"]) == ("turntable", 24)

    (root / "03.json").write_text("{}")
    # Another seed: the same training begun in the same second is the same run, which has finished.
    assert f"{root / '03.json'}: not a label" in run("train", *options, *SMALL, "seed=1").stderr


def test_experiment_is_swept_and_reported(run: Callable, mine: Path, tmp_path: Path) -> None:
    # What the command line gives wins, so the three cells are one.
    done = run("train", *command("-m experiments=huber"), *SMALL, *HEADS, "seed=0", "loss=huber", "loss.delta=5")
    assert done.returncode == 0, done.stdout + done.stderr
    content = only_results(tmp_path)[1]
    done = run("report", *command("experiments=huber", "report"), *SMALL, *HEADS)  # each row has its own loss again
    assert done.returncode == 0, done.stderr
    table = by_method(tmp_path / "runs" / "reports" / "huber" / "table.csv")
    measured = f"{content['test']['synthetic']['last']['mae']:.2f}"
    assert {method: row["unseen heads last"] for method, row in table.items()} == {
        "absolute error": "–",
        "Huber, 1 degree": "–",
        "Huber, 5 degrees": measured,
    }


def test_budget_of_a_data_set_of_ones_own(refused: Callable, mine: Path) -> None:
    options = [*command("data=turntable"), "budget=laptop", "epochs=no"]
    assert "budget=laptop says nothing of data=turntable, only of 300w_lp, biwi, synthetic;" in refused("train", *options)
    (mine / "conf" / "budget_data").mkdir()
    (mine / "conf" / "budget_data" / "laptop_turntable.yaml").write_text("# @package _global_\ndata: {num_train: 1000}\n")
    assert refused("train", *options).startswith("error: epochs=no is not a whole number")


def test_folder_with_nothing_but_an_experiment(
    refused: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "mine" / "experiments").mkdir(parents=True)
    (tmp_path / "mine" / "experiments" / "first.yaml").write_text("# @package _global_\n")
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "mine"))
    assert refused("train", "experiments=first", "epochs=no").startswith("error: epochs=no is not a whole number")
    assert not [warning for warning in recwarn if "headposekit-extensions" in str(warning.message)]


def test_experiment_or_folder_that_is_not_there(refused: Callable, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = refused("train", "experiments=hubert")
    assert "experiments=hubert is unknown" in line
    assert " huber" in line
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", "nowhere")
    assert refused("train") == "error: HEADPOSEKIT_EXTENSIONS=nowhere: no such folder; create it or unset the variable"
