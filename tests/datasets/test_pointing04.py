"""Pointing'04 as published: names, boxes, people and series, and what can be broken."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from headposekit.datasets import Pointing04, Pointing04DataModule
from headposekit.datasets.pointing04 import read_name
from headposekit.errors import InputError
from headposekit.files import write_picture
from headposekit.geometry.crops import FSANetCrop

POSES = [(-90, 0), (-30, 15), (0, -90), (15, 60), (60, -45)]
NAMES = [
    f"Person{person:02d}/person{person:02d}{series}{number:02d}{tilt:+d}{pan:+d}"
    for person in (1, 2)
    for series in (1, 2)
    for number, (tilt, pan) in enumerate(POSES)
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("Pointing04")
    for name in NAMES:
        (root / name).parent.mkdir(exist_ok=True)
        write_picture(root / f"{name}.jpg", np.full((288, 384, 3), 90, np.uint8))
        (root / f"{name}.txt").write_text(f"{Path(name).name}.jpg\n\nFace\n200\n150\n100\n120\n")
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "Pointing04"))


def test_names_are_labels_and_text_files_are_boxes(written: Path) -> None:
    dataset = Pointing04(written)
    assert sorted(dataset.names) == sorted(NAMES)
    first = dict(zip(dataset.names, dataset.pose.tolist(), strict=True))
    assert first["Person01/person01101-30+15"] == [15, -30, 0]
    assert first["Person02/person02204+60-45"] == [-45, 60, 0]
    np.testing.assert_array_equal(dataset.box[0], [150, 90, 250, 210])
    assert {dataset.photo_of(name) for name in NAMES} == {"person01", "person02"}


def test_series_and_people_are_chosen(written: Path) -> None:
    assert {read_name(Path(name))[1] for name in Pointing04(written, series=2).names} == {2}
    assert {name[:8] for name in Pointing04(written, people=[2]).names} == {"Person02"}
    left = Pointing04(written, series=1, without_person=2)
    assert len(left) == 5
    assert left.num_filtered == 15
    assert {name[:8] for name in left.names} == {"Person01"}
    with pytest.raises(InputError, match=r"holds nobody of the chosen series and people"):
        Pointing04(written, people=[7])
    with pytest.raises(InputError, match=r"series=3: Pointing'04 has 1 and 2"):
        Pointing04(written, series=3)
    with pytest.raises(InputError, match=r"person 16: Pointing'04 has 1 to 15"):
        Pointing04(written, without_person=16)


def test_boxes_of_a_table(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    rows = [f"{name},{confidence},10,20,110,{160 + confidence}" for name in NAMES for confidence in (0.5, 0.9)]
    table.write_text("\n".join(["name,confidence,x0,y0,x1,y1", *rows]))
    for path in root.rglob("*.txt"):
        path.unlink()
    dataset = Pointing04(root, boxes=table)
    np.testing.assert_allclose(dataset.box, [[10, 20, 110, 160.9]] * 20)
    table.write_text("\n".join(["name,confidence,x0,y0,x1,y1", *rows[2:]]))
    with pytest.raises(InputError, match=r"boxes\.csv: Person01/person01100-90\+0: no box; add its row"):
        Pointing04(root, boxes=table)


@pytest.mark.parametrize(
    "name", ["face", "person01100", "person0110100+0", "person01100-90+7", "person00100-90+0", "person01300-90+0"]
)
def test_odd_names_are_refused(root: Path, name: str) -> None:
    (root / "Person01" / f"{name}.jpg").write_bytes((root / f"{NAMES[0]}.jpg").read_bytes())
    with pytest.raises(InputError, match=rf"{re.escape(name)}\.jpg: no name of Pointing'04 such as person01127-30\+15"):
        Pointing04(root)
    assert len(Pointing04(root, bad_files="skip")) == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no face with x, y of the centre, width, height"),
        ("a.jpg\nFace\n1\n2\n3\n", "no face with"),
        ("a.jpg\nFace\n1\n2\nthree\n4\n", "no face with"),
        ("a.jpg\nFace\n900\n900\n50\n50\n", "lies outside"),
        ("a.jpg\nFace\n90\n90\n0\n50\n", "no area"),
        ("a.jpg\nFace\nnan\n90\n20\n50\n", "no area"),
        (None, "no such file"),
    ],
)
def test_broken_boxes_are_refused_or_left_out(root: Path, text: str | None, message: str) -> None:
    path = root / f"{NAMES[0]}.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=rf"person01100-90\+0.*{message}"):
        Pointing04(root)
    assert len(Pointing04(root, bad_files="skip")) == 19


def test_accuracies_of_classes(written: Path) -> None:
    data = Pointing04DataModule(written, FSANetCrop(), max_angle=None)
    true = np.array([[0.0, 0, 0], [15, -30, 0], [-90, 60, 0], [30, 90, 0]])
    predicted = true + np.array([[7.4, 0, 9], [7.6, 0, 0], [-40, -14.9, 0], [0, -15.1, 0]])
    errors = data.more_errors(true, predicted)
    assert errors == {"pan_accuracy": 0.75, "tilt_accuracy": 0.75, "accuracy": 0.5}
    assert data.rules["labels"] == "nominal"


def test_published_pictures(shared: Path) -> None:
    dataset = Pointing04(shared / "pointing04")
    assert len(dataset) == 1488
    assert len({dataset.photo_of(name) for name in dataset.names}) == 8
    table = np.genfromtxt(shared / "pointing04" / "faces.csv", delimiter=",", skip_header=1, usecols=range(1, 8))
    names = [
        line.split(",")[0].removesuffix(".jpg") for line in (shared / "pointing04" / "faces.csv").read_text().splitlines()[1:]
    ]
    order = [dataset.names.index(name) for name in names]
    np.testing.assert_array_equal(dataset.pose[order], table[:, :3])
    np.testing.assert_allclose(dataset.box[order], table[:, 3:], atol=0.01)
