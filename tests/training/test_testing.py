import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console

from headposekit.console import print_results
from headposekit.datasets import AFLW2000DataModule, W300LPDataModule
from headposekit.errors import InputError
from headposekit.geometry.conventions import pose_to_pyr
from headposekit.geometry.crops import FSANetCrop
from headposekit.models.network import PoseNetwork
from headposekit.reporting.experiments import errors_of
from headposekit.training import PoseEvaluator
from headposekit.training.runs import Run, fuse, read_groups, read_predictions
from headposekit.training.testing import check_sets, run_tests
from headposekit.types import PoseOutput


class Constant(PoseNetwork):
    """Predicts the same pose for everyone."""

    input_size = 64

    def __init__(self, *pose: float) -> None:
        super().__init__()
        self.pose = torch.tensor(pose)

    def forward(self, batch: Any) -> PoseOutput:
        return PoseOutput(pose=self.pose.expand(len(batch["image"]), 3))


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


def test_predictions_name_the_photograph_of_each_face(w300lp_root: Path, tmp_path: Path) -> None:
    datamodule = W300LPDataModule(w300lp_root, FSANetCrop())
    run_tests(trainer(), PoseEvaluator(Constant(0, 0, 0)), {"lp": datamodule}, {"test": {}}, "last", tmp_path)
    rows = list(csv.DictReader((tmp_path / "predictions_lp.csv").open(newline="")))
    assert list(rows[0])[-1] == "group"
    groups = read_groups(Run(tmp_path, {}), "lp")
    assert groups == {row["name"]: row["group"] for row in rows}
    assert groups == {name: datamodule.dataset.photo_of(name) for name in datamodule.dataset.names}
    assert len(set(groups.values())) < len(groups)


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


def test_doubtful_labels_are_said_on_the_console(aflw2000_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop())
    datamodule.dataset.doubts = ["they look like radians"]
    check_sets(PoseEvaluator(Constant(0, 0, 0)), {"data": datamodule})
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "data: they look like radians")
    ]


def test_crops_of_another_size_are_refused(aflw2000_root: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop(size=32))
    with pytest.raises(InputError, match=r"crop\.size=32, but Constant takes 64 pixels"):
        check_sets(PoseEvaluator(Constant(0, 0, 0)), {"test.aflw2000": datamodule})


class Failing(Constant):
    """Has no pose for the faces whose name ends with an odd digit; says that every fourth stands behind the camera."""

    def forward(self, batch: Any) -> PoseOutput:
        numbers = torch.tensor([int(name[-1]) for name in batch["name"]])
        refused, behind = numbers % 4 == 1, numbers % 4 == 3
        pose = torch.where((refused | behind)[:, None], float("nan"), self.pose.expand(len(numbers), 3))
        return PoseOutput(pose=pose, is_refused=refused, is_behind=behind)


def test_faces_without_a_pose_are_counted_and_left_out_of_the_means(aflw2000_root: Path, tmp_path: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop(), batch_size=3)
    results: dict[str, Any] = {"test": {}, "params": 0}
    run_tests(trainer(), PoseEvaluator(Failing(0, 0, 0)), {"aflw2000": datamodule}, results, "last", tmp_path)
    entry = results["test"]["aflw2000"]
    assert {key: entry[key] for key in ("n", "refused", "behind", "without_pose", "skipped")} == {
        "n": 10, "refused": 3, "behind": 2, "without_pose": 5, "skipped": 3,
    }  # fmt: skip
    even = [i for i, name in enumerate(datamodule.dataset.names) if int(name[-1]) % 2 == 0]
    errors = abs(datamodule.dataset.pose[even])
    assert [entry["last"][a] for a in ("yaw", "pitch", "roll")] == pytest.approx(errors.mean(axis=0).tolist(), abs=1e-5)
    assert entry["median"]["mae"] == pytest.approx(float(np.median(errors.mean(axis=1))), abs=1e-5)
    rows = list(csv.DictReader((tmp_path / "predictions_aflw2000.csv").open(newline="")))
    assert [row["predicted_yaw"] == "" == row["geodesic"] for row in rows] == [int(row["name"][-1]) % 2 == 1 for row in rows]
    read = read_predictions(Run(tmp_path, {}), "aflw2000")
    assert read is not None
    assert len(read) == 10
    assert errors_of(read)["mae"] == pytest.approx(entry["last"]["mae"], abs=1e-5)
    fused = fuse([read, {name: (true, np.zeros(3)) for name, (true, _) in read.items()}])
    assert fused is not None
    assert errors_of(fused)["mae"] == pytest.approx(entry["last"]["mae"], abs=1e-5)
    console = Console(width=120, record=True, file=io.StringIO())
    print_results(results, console)
    assert "aflw2000: 3 faces refused, 2 poses behind the camera; errors are means over 5 faces" in console.export_text()


def test_a_set_without_a_single_pose_is_refused(aflw2000_root: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop())
    datamodule.dataset.names = [f"{n}_1" for n in range(len(datamodule.dataset))]
    with pytest.raises(InputError, match="none of 10 faces got a pose \\(10 refused, 0 behind the camera\\)"):
        run_tests(trainer(), PoseEvaluator(Failing(0, 0, 0)), {"aflw2000": datamodule}, {"test": {}}, "last")


def test_pictures_are_carried_only_for_who_asks(aflw2000_root: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop(), batch_size=5)
    seen: list[Any] = []

    class Looking(Constant):
        needs_picture = True

        def forward(self, batch: Any) -> PoseOutput:
            seen.append(batch.get("picture"))
            return super().forward(batch)

    for model in (Looking(0, 0, 0), Constant(0, 0, 0)):
        run_tests(trainer(), PoseEvaluator(model), {"aflw2000": datamodule}, {"test": {}}, "last")
    assert [picture.shape for picture in seen[0]] == [(450, 450, 3)] * 5
    assert all(isinstance(picture, np.ndarray) for picture in seen[0])  # no tensors, which dlib refuses
    assert "picture" not in next(iter(datamodule.test_dataloader()))


class Seen(Constant):
    """Keeps how it was computed."""

    def __init__(self) -> None:
        super().__init__(0, 0, 0)
        self.layer = torch.nn.Linear(1, 1)
        self.seen: set[Any] = set()

    def forward(self, batch: Any) -> PoseOutput:
        flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        self.seen.add((self.layer(self.layer.weight.new_ones(1)).dtype, torch.is_autocast_enabled("cpu"), *flags))
        return super().forward(batch)


@pytest.fixture
def tf32() -> Iterator[None]:
    """As on a GPU by default, for convolutions; for products as a user may want it."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = True
    yield
    for backend, is_allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = is_allowed


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_every_test_is_in_float32_whatever_the_training_was(aflw2000_root: Path, precision: str) -> None:
    tester = pl.Trainer(
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,  # type: ignore[arg-type]
    )
    module = PoseEvaluator(Seen())
    plugin = tester.precision_plugin
    plugin.convert_module(module)  # as for a training
    run_tests(tester, module, {"a": AFLW2000DataModule(aflw2000_root, FSANetCrop())}, {"test": {}}, "last")
    assert module.model.seen == {(torch.float32, False, False, False)}
    assert tester.precision_plugin is plugin
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32
