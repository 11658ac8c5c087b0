"""Photographs with 68 points: labels of our own, and what can be broken in them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.datasets import Points68, Points68DataModule
from headposekit.errors import InputError
from headposekit.files import write_picture
from headposekit.geometry.crops import FSANetCrop
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.synthesis.sampler import HeadSampler

NAMES = ["afw/1051618982_1", "afw/1051618982_2", "lfpw/image_0001", "lfpw/image_0001_mirror"]


@pytest.fixture(scope="module")
def heads() -> list[object]:
    sampler = HeadSampler(texture_pool=4, photo=0.0, body=False)
    return [sampler.render(number, 160, (yaw, 5.0, -4.0)) for number, yaw in enumerate((-40.0, -15.0, 10.0, 35.0))]


@pytest.fixture(scope="module")
def written(heads: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("300W")
    for name, head in zip(NAMES, heads, strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        write_picture(root / f"{name}.png", head.image)  # type: ignore[attr-defined]
        write_points(root / f"{name}.pts", head.landmarks[:, :2])  # type: ignore[attr-defined]
    return root


def write_points(path: Path, points: np.ndarray) -> None:
    lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points)
    path.write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "300W"))


def test_labels_are_close_to_the_truth(written: Path, heads: list[object]) -> None:
    dataset = Points68(written, level=0.0)
    assert dataset.names == NAMES
    true = np.array([head.pose for head in heads])  # type: ignore[attr-defined]
    assert np.abs(dataset.pose - true).max() < 6
    assert np.abs(dataset.pose - true).mean() < 2.5
    points = heads[1].landmarks[:, :2]  # type: ignore[attr-defined]
    np.testing.assert_allclose(dataset.box[1], [*points.min(axis=0), *points.max(axis=0)], atol=0.01)
    np.testing.assert_allclose(dataset.landmarks[1], points, atol=0.01)
    assert [dataset.photo_of(name) for name in NAMES] == ["afw/1051618982"] * 2 + ["lfpw/image_0001"] * 2


def test_files_without_a_header_and_from_zero(root: Path) -> None:
    before = Points68(root)
    for path in root.rglob("*.pts"):
        text = path.read_text().partition("{")[2].partition("}")[0]
        path.write_text(text.replace(" ", ", "))
    after = Points68(root, first_pixel=0)
    np.testing.assert_array_equal(after.pose, before.pose)
    np.testing.assert_array_equal(after.box, before.box + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("n_points", "{ 1 2 }", 1), r"2 numbers, expected 68 lines x y; restore or remove it"),
        (lambda text: text.replace("{\n", "{\nnan nan\n", 1).replace("\n}", "", 1).rsplit("\n", 2)[0], "NaN or infinite"),
        (lambda text: text.replace("{\n", "{\none two\n"), "something else than the numbers of 68 points"),
        (lambda _: "{" + "3 4\n" * 68 + "}", "has no area"),
        (lambda _: "{" + "\n".join(f"{i} {2 * i}" for i in range(1, 69)) + "}", "no pose of a face explains the 68 points"),
        (lambda _: "{" + "\n".join(f"{900 + i} {i % 7}" for i in range(68)) + "}", "lies outside"),
        (lambda _: "", "0 numbers, expected 68 lines"),
    ],
)
def test_what_is_no_face_is_refused_or_left_out(root: Path, change: object, message: str) -> None:
    path = root / "afw/1051618982_1.pts"
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(InputError, match=rf"1051618982_1.*{message}"):
        Points68(root)
    assert Points68(root, bad_files="skip").names == NAMES[1:]


def test_missing_picture_and_unknown_options(root: Path) -> None:
    (root / "afw/1051618982_1.png").unlink()
    with pytest.raises(InputError, match=r"1051618982_1\.jpg: the picture of an annotation is missing"):
        Points68(root)
    with pytest.raises(InputError, match=r"label_rule=best is unknown; choose rigid_68, rigid_inner, modes_68, modes_inner"):
        Points68(root, label_rule="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"first_pixel=2 is no way to count pixels"):
        Points68(root, first_pixel=2)
    shutil.rmtree(root)
    root.mkdir()
    with pytest.raises(InputError, match=r"holds none of its pictures \(NAME\.pts with NAME\.jpg, at any depth\)"):
        Points68(root)


def test_results_say_whose_labels_these_are(written: Path) -> None:
    data: HeadPoseDataModule = Points68DataModule(written, FSANetCrop(), label_rule="rigid_inner")
    assert data.rules["labels"] == "our own, rigid_inner"
    assert data.rules["box"] == "68 points"
    assert data.rules["level"] == 6.6


def test_level_is_taken_off_in_the_frame_of_the_head(written: Path) -> None:
    raw, level = Points68(written, level=0.0), Points68(written, level=8.0)
    turn = pose_to_matrix(torch.tensor([0.0, 8.0, 0.0]))
    back = matrix_to_pose(pose_to_matrix(torch.tensor(level.pose)) @ turn)
    np.testing.assert_allclose(back, raw.pose, atol=1e-4)


def test_photographs_of_300w(shared: Path) -> None:
    """2,012 photographs: all are read, and the two rules say nearly the same."""
    modes = Points68(shared / "w300_crops")
    rigid = Points68(shared / "w300_crops", label_rule="rigid_inner")
    assert len(modes) == 2012
    assert np.abs(modes.pose - rigid.pose).mean(axis=0).max() < 6
    assert np.abs(modes.pose[:, 0]).max() < 99
