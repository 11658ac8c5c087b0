"""AFW as our writer lays it out, and what can be broken in it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headposekit.datasets import AFW, AFWDataModule
from headposekit.errors import InputError
from headposekit.geometry.crops import HOPENET_SIDES, HopenetCrop, crop_with_black_border, hopenet_box
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers import SIZE
from headposekit.synthesis.writers_aflw import FIRST_AFW, WriteAFW

FACES = ["000001_1", "000002_1", "000003_1", "000003_2"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = WriteAFW(tmp_path_factory.mktemp("AFW"), HeadSampler(texture_pool=4), num_units=3)
    assert [name for number in range(3) for name in writer[number]] == FACES
    return writer.root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "AFW"))


def test_written_faces_are_read_back(written: Path) -> None:
    dataset = AFW(written)
    assert dataset.names == FACES
    assert np.isnan(dataset.landmarks).all()
    heads = WriteAFW(written, HeadSampler(texture_pool=4), 1).heads
    for index, name in enumerate(FACES):
        person = FIRST_AFW + {"000001_1": 0, "000002_1": 2, "000003_1": 4, "000003_2": 5}[name]
        shift = SIZE if name == "000003_2" else 0
        head = heads.render(person * heads.poses_per_identity, SIZE, tuple(dataset.pose[index].tolist()))
        assert dataset.pose[index, 0] % 15 == 0
        np.testing.assert_allclose(dataset.pose[index], head.pose, atol=0.01)
        np.testing.assert_allclose(dataset.box[index], head.box + [shift, 0, shift, 0], atol=0.5)
        assert np.abs(dataset.image(index)[:, shift : shift + SIZE].astype(int) - head.image).mean() < 5  # JPEG
    assert len(set(dataset.pose[:, 0])) > 1
    np.testing.assert_array_equal(dataset.image(2), dataset.image(3))
    assert [dataset.photo_of(name) for name in FACES] == ["000001", "000002", "000003", "000003"]


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_signs_by_hand(root: Path, separator: str) -> None:
    label = separator.join(["x", "-45", "12.5", "-7", "10.5", "20", "110", "140.25", "more"])
    (root / "000001_1.txt").write_text(label)
    dataset = AFW(root)
    np.testing.assert_array_equal(dataset.pose[0], [45, 12.5, -7])
    np.testing.assert_array_equal(dataset.box[0], [10.5, 20, 110, 140.25])


def test_filter(root: Path) -> None:
    (root / "000001_1.txt").write_text("x 105 0 0 10 10 20 20")
    assert (AFW(root).names, AFW(root).num_filtered) == (FACES[1:], 1)
    assert AFW(root, max_angle=None).pose[0, 0] == -105


def test_suffixes_in_upper_case(root: Path) -> None:
    (root / "000001.jpg").rename(root / "000001.JPG")
    (root / "000002_1.txt").rename(root / "000002_1.TXT")
    assert AFW(root).names == FACES


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda path: path.write_text("x 0 15 0 1 2 3"), "7 fields where <ignored> yaw pitch roll x1 y1 x2 y2"),
    "empty": (lambda path: path.write_text(""), "0 fields where"),
    "word": (lambda path: path.write_text("x 0 15 0 1 2 right 3"), "x2 is 'right', not a finite number"),
    "NaN": (lambda path: path.write_text("x nan 15 0 1 2 3 4"), "yaw is nan, not a finite number"),
    "turn": (lambda path: path.write_text("x 0 15 361 1 2 3 4"), "hold more than a full turn in degrees"),
    "width": (lambda path: path.write_text("x 0 15 0 3 2 3 4"), ") has no area"),
    "height": (lambda path: path.write_text("x 0 15 0 1 5 3 4"), ") has no area"),
    "far": (lambda path: path.write_text("x 0 15 0 9000 9000 9100 9100"), "lies outside its picture"),
    "huge": (lambda path: path.write_text("x 0 15 0 -1e5 -1e5 1e5 1e5"), "more than twice as large"),
    "picture": (lambda path: path.with_name("000002.jpg").unlink(), "the picture of an annotation is missing"),
}


@pytest.mark.parametrize("kind", BAD)
def test_broken_labels_are_named_and_can_be_left_out(root: Path, kind: str) -> None:
    damage, told = BAD[kind]
    damage(root / "000002_1.txt")
    with pytest.raises(InputError) as error:
        AFW(root)
    line = str(error.value)
    assert told in line
    assert str(root / ("000002.jpg" if kind == "picture" else "000002_1.txt")) in line
    assert "\n" not in line
    survivor = AFW(root, bad_files="skip")
    assert (len(survivor), list(survivor.skipped)) == (3, ["000002_1"])


def test_missing_and_empty_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="AFW not found: no folder"):
        AFW(tmp_path / "none")
    (tmp_path / "list.txt").write_text("000001_1\n")  # Hopenet keeps a list beside the labels
    with pytest.raises(InputError, match=r"holds none of its pictures \(PICTURE_N\.txt with PICTURE\.jpg\)"):
        AFW(tmp_path)


sides = st.floats(0, 500)


@settings(max_examples=60)
@given(
    st.tuples(st.integers(-6, 6).map(lambda k: 15 * k), st.floats(-99, 99), st.floats(-99, 99)),
    st.tuples(sides, sides, st.floats(1, 300), st.floats(1, 300)),
    st.sampled_from([" ", "\t"]),
)
def test_any_written_line_is_read_back(label: tuple[float, ...], place: tuple[float, ...], separator: str) -> None:
    x, y, width, height = place
    with TemporaryDirectory() as folder:
        cv2.imwrite(f"{folder}/7.jpg", np.zeros((900, 900, 3), np.uint8))
        line = separator.join(map(repr, ("7_2", *label, x, y, x + width, y + height)))
        (Path(folder) / "7_2.txt").write_text(line + "\n")
        dataset = AFW(folder)
    yaw, pitch, roll = label
    np.testing.assert_allclose(dataset.pose, [[-yaw, pitch, roll]], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(dataset.box, [[x, y, x + width, y + height]], rtol=1e-6, atol=1e-30)


def test_datamodule_cuts_by_hopenets_own_factors(written: Path) -> None:
    datamodule = AFWDataModule(written, HopenetCrop(64))
    image, box = datamodule.dataset.image(1), datamodule.dataset.box[1]
    cut = crop_with_black_border(image, hopenet_box(box, 0.32, (0.8, 2.0, 0.8, 1.0)))
    shown = datamodule.faces([1])["image"][0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(shown, HopenetCrop(64).fit(cut))
    assert HOPENET_SIDES["afw"] != HOPENET_SIDES["300w_lp"]
    assert datamodule.rules == {"dataset": "AFW", "max_angle": 99}


def test_what_macos_keeps_beside_files_is_no_face(root: Path) -> None:
    for path in sorted(root.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert AFW(root).names == FACES


def test_a_pipe_in_place_of_a_label_is_not_waited_for(root: Path) -> None:
    label = root / f"{FACES[0]}.txt"
    label.unlink()
    os.mkfifo(label)
    with pytest.raises(InputError, match="a pipe or device, expected a file"):
        AFW(root)
    assert list(AFW(root, bad_files="skip").skipped) == FACES[:1]
