"""AFLW in both forms as our writer lays it out, and what can be broken in it."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headposekit.datasets import AFLW, AFLWDataModule
from headposekit.datasets.aflw import draw_test_faces
from headposekit.datasets.biwi import biwi_sequences
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop, HopenetCrop
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_aflw import FIRST_AFLW, WriteAFLW

SIZE = 96
FACES = ["0/image00001_1", "0/image00004_7", "2/image00002_3", "2/image00005_9"]
FACES += ["3/image00003_5", "3/image00003_6", "3/image00006_11", "3/image00006_12"]


def write(root: Path, form: str) -> Path:
    writer = WriteAFLW(root, HeadSampler(texture_pool=4), num_units=6, form=form, size=SIZE)  # type: ignore[arg-type]
    for number in range(len(writer)):
        writer[number]
    return root


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {form: write(tmp_path_factory.mktemp(form), form) for form in ("sqlite", "text")}


@pytest.fixture
def database(written: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(written["sqlite"], tmp_path / "AFLW"))


@pytest.fixture
def crops(written: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(written["text"], tmp_path / "AFLW"))


def change(root: Path, *statements: str) -> None:
    with closing(sqlite3.connect(root / "aflw.sqlite")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def refusal(*arguments: object, **options: object) -> str:
    with pytest.raises(InputError) as error:
        AFLW(*arguments, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_written_faces_are_read_back_in_both_forms(written: dict[str, Path]) -> None:
    heads = WriteAFLW(written["sqlite"], HeadSampler(texture_pool=4), 1).heads
    for form, root in written.items():
        dataset = AFLW(root, max_angle=None)
        assert dataset.names == FACES
        assert dataset.has_boxes == (form == "sqlite")
        assert np.isnan(dataset.landmarks).all()
        for index, name in enumerate(dataset.names):
            person = FIRST_AFLW + int(name.split("_")[1]) - 1
            head = heads.render(person * heads.poses_per_identity, SIZE)
            np.testing.assert_allclose(dataset.pose[index], head.pose, atol=0.01)
            shift = SIZE if name in ("3/image00003_6", "3/image00006_12") else 0
            image, box = dataset.image(index), dataset.box[index]
            if form == "sqlite":
                np.testing.assert_allclose(box, head.box + [shift, 0, shift, 0], atol=0.5)
                assert np.abs(image[:, shift : shift + SIZE].astype(int) - head.image).mean() < 5  # JPEG
            else:
                np.testing.assert_array_equal(box, [0, 0, image.shape[1], image.shape[0]])
                longer = max(head.box[2] - head.box[0], head.box[3] - head.box[1])
                assert image.shape[0] == image.shape[1] == pytest.approx(1.6 * longer, abs=1)


def test_faces_of_one_photograph_share_it(written: dict[str, Path]) -> None:
    dataset = AFLW(written["sqlite"], max_angle=None)
    np.testing.assert_array_equal(dataset.image(4), dataset.image(5))
    assert dataset.image(4).shape == (SIZE, 2 * SIZE, 3)
    assert dataset.photo_of(FACES[4]) == dataset.photo_of(FACES[5]) == "3/image00003"
    assert len({dataset.photo_of(name) for name in dataset.names}) == 6
    assert AFLW(written["text"], max_angle=None).photo_of(FACES[4]) == FACES[4]
    dataset.verify(range(len(dataset)))


def test_signs_and_rectangle_by_hand_in_the_database(database: Path) -> None:
    change(database, "UPDATE FacePose SET yaw = 0.1, pitch = -0.2, roll = 0.3 WHERE face_id = 1")
    change(database, "UPDATE FaceRect SET x = -10, y = 20, w = 30, h = 45 WHERE face_id = 1")
    dataset = AFLW(database, max_angle=None)
    np.testing.assert_allclose(dataset.pose[0], [5.72958, -11.45916, -17.18873], atol=1e-4)
    np.testing.assert_array_equal(dataset.box[0], [-10, 20, 20, 65])


@pytest.mark.parametrize(
    "line",
    ["7 0.1 -0.2 0.3\n", "7  0.1 -0.2 0.3 9 x\n", "a name\t0.1\t-0.2\t0.3\t\r\n", "7 0.1 -0.2\t0.3", "\t0.1\t-2e-1\t+0.3"],
    ids=["spaces", "more", "tabs and a space", "both", "nothing before"],
)
def test_signs_by_hand_in_a_text(crops: Path, line: str) -> None:
    (crops / f"{FACES[0]}.txt").write_bytes(line.encode())
    np.testing.assert_allclose(AFLW(crops, max_angle=None).pose[0], [5.72958, -11.45916, -17.18873], atol=1e-4)


def test_filter_is_in_degrees(database: Path) -> None:
    change(database, "UPDATE FacePose SET yaw = 1.75 WHERE face_id = 1")  # 100.3 degrees
    change(database, "UPDATE FacePose SET yaw = 1.72 WHERE face_id = 7")  # 98.5 degrees
    dataset = AFLW(database)
    assert (len(dataset), dataset.num_filtered) == (7, 1)
    assert dataset.names == FACES[1:]


def test_pictures_may_lie_beside_the_database(database: Path) -> None:
    for folder in (database / "flickr").iterdir():
        folder.rename(database / folder.name)
    assert AFLW(database, max_angle=None).image(0).shape == (SIZE, SIZE, 3)
    (database / "flickr").rmdir()
    assert AFLW(database, max_angle=None).names == FACES


def test_the_database_is_only_read(database: Path) -> None:
    (database / "aflw.sqlite").rename(database / "a b%20?.sqlite")
    (database / "aflw.sqlite").symlink_to(database / "a b%20?.sqlite")
    (database / "a b%20?.sqlite").chmod(0o444)
    before = (database / "aflw.sqlite").read_bytes(), sorted(path.name for path in database.iterdir())
    assert AFLW(database, max_angle=None).names == FACES
    assert ((database / "aflw.sqlite").read_bytes(), sorted(path.name for path in database.iterdir())) == before


def test_parts_are_disjoint_by_photograph_and_depend_on_the_seed() -> None:
    names = [f"{k // 3 if k < 1500 else k}_{k}" for k in range(2400)]  # 500 photographs of three, 900 of one
    photos = [name.split("_")[0] for name in names]
    drawn = [draw_test_faces(names, photos, seed) for seed in (0, 0, 1)]
    assert [len(test) for test in drawn] == [1000] * 3
    assert drawn[0] == drawn[1] != drawn[2]
    for test in drawn:
        sides = ({photo for photo, name in zip(photos, names, strict=True) if (name in test) == side} for side in (True, False))
        assert not set.intersection(*sides)
    assert len(draw_test_faces(names[:1001], photos[:1001], 0)) in (998, 999)  # all but two in threes
    assert len(draw_test_faces(names[1500:2300], photos[1500:2300], 0)) == 80


@pytest.mark.parametrize("seed", range(4))
def test_parts_of_a_small_set(written: dict[str, Path], seed: int) -> None:
    for root in written.values():
        parts = {part: AFLW(root, None, part=part, part_seed=seed) for part in ("all", "train", "test")}  # type: ignore[arg-type]
        assert sorted(parts["train"].names + parts["test"].names) == parts["all"].names == FACES
        assert len(parts["test"]) == 1


def test_the_draw_knows_no_filter(database: Path) -> None:
    (drawn,) = AFLW(database, None, part="test").names
    change(database, "UPDATE FacePose SET yaw = 1.75 WHERE face_id <> " + drawn.split("_")[1])
    assert AFLW(database, 99, part="test").names == [drawn]
    assert drawn not in AFLW(database, None, part="train").names


def test_a_list_says_which_faces_count(crops: Path, tmp_path: Path) -> None:
    (crops / "an image 1.jpg").write_bytes((crops / f"{FACES[0]}.jpg").read_bytes())
    (crops / "an image 1.txt").write_text("x 0.1 0.2 0.3")
    (crops / "list.txt").write_text(f"\ufeff{FACES[3]}\r\nan image 1\n\n{FACES[0]} \n")  # a list among the labels is no label
    dataset = AFLW(crops, None, faces=crops / "list.txt", part="test")
    assert dataset.names == [FACES[0], FACES[3], "an image 1"]
    (crops / "list.txt").write_text(f"{FACES[0]}\n2/image00099_1\n4/image00001_1\n")
    line = refusal(crops, None, faces=crops / "list.txt")
    assert "list.txt: 2 of its 3 faces are not in" in line
    assert "such as 2/image00099_1; correct the list" in line


def test_lists_that_are_none(database: Path, tmp_path: Path) -> None:
    assert "none.txt: no such file" in refusal(database, None, faces=tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "empty.txt: no name in this list" in refusal(database, None, faces=tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    assert "binary.txt: cannot be read as text" in refusal(database, None, faces=tmp_path / "binary.txt")


def test_unknown_and_empty_parts(crops: Path) -> None:
    assert "part=most is unknown; choose all, train or test" in refusal(crops, part="most")
    for name in FACES[1:]:
        for suffix in ("jpg", "txt"):
            (crops / f"{name}.{suffix}").unlink()
    assert "1 faces" in refusal(crops, part="test")
    assert "leave none for part=test; set part=all" in refusal(crops, part="test")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DROP TABLE FaceRect", "no table FaceRect in it"),
        ("ALTER TABLE FacePose RENAME COLUMN roll TO tilt", "no column roll in table FacePose"),
        ("ALTER TABLE FaceImages DROP COLUMN filepath", "no column filepath in table FaceImages"),
    ],
)
def test_databases_of_another_kind(database: Path, statement: str, told: str) -> None:
    change(database, statement)
    for bad_files in ("raise", "skip"):
        line = refusal(database, bad_files=bad_files)
        assert f"{database / 'aflw.sqlite'}: {told}" in line
        assert "give AFLW's own database" in line


@pytest.mark.parametrize("content", [b"hello, this is no database", b"", "cut"], ids=["text", "empty", "cut short"])
def test_no_database(database: Path, content: bytes | str) -> None:
    path = database / "aflw.sqlite"
    path.write_bytes(path.read_bytes()[:5000] if isinstance(content, str) else content)
    line = refusal(database)
    assert str(path) in line
    assert ("no table Faces in it" if content == b"" else "cannot be read as AFLW's database") in line


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM FaceImages WHERE file_id = 'image00002'", "face 3 has no picture in FaceImages"),
        ("UPDATE FaceImages SET filepath = NULL WHERE file_id = 'image00002'", "face 3 has no picture in FaceImages"),
        (
            "UPDATE FaceImages SET filepath = 7.5 WHERE file_id = 'image00002'",
            "7.5: the picture of an annotation is missing",
        ),
        ("UPDATE FaceImages SET filepath = '.' WHERE file_id = 'image00002'", "the picture of an annotation is missing"),
        ("UPDATE FaceImages SET filepath = '../x.jpg' WHERE file_id = 'image00002'", "../x.jpg is no path below flickr/"),
        ("UPDATE FaceImages SET filepath = '/x.jpg' WHERE file_id = 'image00002'", "/x.jpg is no path below flickr/"),
        ("UPDATE FacePose SET yaw = NULL WHERE face_id = 3", "face 3: yaw is None, not a finite number"),
        ("UPDATE FacePose SET roll = 'left' WHERE face_id = 3", "face 3: roll is 'left', not a finite number"),
        ("UPDATE FacePose SET pitch = 9e999 WHERE face_id = 3", "face 3: pitch is inf, not a finite number"),
        ("UPDATE FacePose SET pitch = x'00ff' WHERE face_id = 3", "face 3: pitch is b'"),
        ("UPDATE FacePose SET yaw = 25 WHERE face_id = 3", "face 3: yaw is 25, beyond a full turn; AFLW's are radians"),
        ("UPDATE FaceRect SET w = NULL WHERE face_id = 3", "face 3: w is None"),
        ("UPDATE FaceRect SET h = 0 WHERE face_id = 3", "pixels has no area"),
        ("UPDATE FaceRect SET w = 1e9 WHERE face_id = 3", "face 3: the box"),
        ("UPDATE FaceRect SET x = 5000 WHERE face_id = 3", "lies outside its picture"),
    ],
)
def test_broken_faces_are_named_and_can_be_left_out(database: Path, statement: str, told: str) -> None:
    change(database, statement)
    line = refusal(database, None)
    assert told in line
    assert str(database) in line
    assert "bad_files=skip" in line
    survivor = AFLW(database, None, bad_files="skip")
    assert survivor.names == [name for name in FACES if name != "2/image00002_3"]
    assert len(survivor.skipped) == 1
    assert next(iter(survivor.skipped)).endswith("_3")


def test_damaged_text_is_refused_in_one_line(database: Path) -> None:
    change(database, "UPDATE FaceImages SET filepath = CAST(x'c9ff2e6a7067' AS TEXT) WHERE file_id = 'image00002'")
    assert "cannot be read as AFLW's database" in refusal(database, None)


def test_a_view_is_not_run(database: Path) -> None:
    change(
        database,
        "DROP TABLE FaceRect",
        "CREATE VIEW FaceRect AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT i AS face_id, i AS x, i AS y, i AS w, i AS h FROM n",
    )
    assert "no table FaceRect in it" in refusal(database, None)


def test_suffixes_in_upper_case(crops: Path) -> None:
    before = AFLW(crops, max_angle=None)
    (crops / f"{FACES[0]}.jpg").rename(crops / f"{FACES[0]}.JPG")
    (crops / f"{FACES[1]}.txt").rename(crops / f"{FACES[1]}.TXT")
    after = AFLW(crops, max_angle=None)
    assert after.names == before.names
    np.testing.assert_array_equal(after.image(0), before.image(0))
    np.testing.assert_array_equal(after.pose, before.pose)


def test_a_face_that_stands_there_twice(database: Path) -> None:
    change(database, "CREATE TABLE Copy AS SELECT * FROM FaceRect", "INSERT INTO Copy SELECT * FROM FaceRect WHERE face_id = 9")
    change(database, "DROP TABLE FaceRect", "ALTER TABLE Copy RENAME TO FaceRect")
    assert "face 9: stands in Faces, FaceImages, FacePose, FaceRect 2 times" in refusal(database, None)
    assert list(AFLW(database, None, bad_files="skip").skipped) == ["2/image00005_9"]


BAD_TEXTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda path: path.write_text("x 0.1 0.2"), "3 fields where <ignored> yaw pitch roll are expected"),
    "empty": (lambda path: path.write_text("\n"), "0 fields where"),
    "word": (lambda path: path.write_text("x 0.1 up 0.2"), "pitch is 'up', not a finite number"),
    "NaN": (lambda path: path.write_text("x 0.1 0.2 nan"), "roll is nan, not a finite number"),
    "empty field": (lambda path: path.write_text("x\t\t0.2\t0.1"), "yaw is '', not a finite number"),
    "degrees": (lambda path: path.write_text("x 0.1 -6.3 0.2"), "pitch is -6.3, beyond a full turn; AFLW's are radians"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe0.1"), "cannot be read as text"),
    "no label": (lambda path: path.unlink(), "its annotation image00002_3.txt is missing"),
    "no picture": (lambda path: path.with_suffix(".jpg").unlink(), "image00002_3.jpg: the picture of an annotation is missing"),
    "broken picture": (lambda path: path.with_suffix(".jpg").write_bytes(b"x"), "image00002_3.jpg: not a readable picture"),
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_broken_texts_are_named_and_can_be_left_out(crops: Path, kind: str) -> None:
    damage, told = BAD_TEXTS[kind]
    damage(crops / "2" / "image00002_3.txt")
    line = refusal(crops, None)
    assert told in line
    assert str(crops / "2" / "image00002_3.") in line
    survivor = AFLW(crops, None, bad_files="skip")
    assert list(survivor.skipped) == ["2/image00002_3"]
    assert len(survivor) == 7


def test_missing_photograph(database: Path) -> None:
    (database / "flickr" / "3" / "image00003.jpg").unlink()
    assert "flickr/3/image00003.jpg: the picture of an annotation is missing" in refusal(database, None)
    assert set(AFLW(database, None, bad_files="skip").skipped) == {"3/image00003_5", "3/image00003_6"}


def test_empty_root(tmp_path: Path) -> None:
    assert "AFLW not found: no folder" in refusal(tmp_path / "none")
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((4, 4, 3), np.uint8))
    assert "holds none of its pictures (aflw.sqlite with flickr/, or NAME.txt with NAME.jpg)" in refusal(tmp_path)


angles = st.floats(-2 * np.pi, 2 * np.pi)
ignored = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1)


@settings(max_examples=60)
@given(ignored, st.tuples(angles, angles, angles), st.sampled_from([" ", "\t"]), st.sampled_from(["", "\n", "\r\n"]))
def test_any_written_line_is_read_back(first: str, label: tuple[float, ...], separator: str, end: str) -> None:
    with TemporaryDirectory() as folder:
        cv2.imwrite(f"{folder}/a.b c.jpg", np.zeros((4, 6, 3), np.uint8))
        line = separator.join([first, *map(repr, label), "0"]) + end
        (Path(folder) / "a.b c.txt").write_bytes(line.encode())
        dataset = AFLW(folder, None)
    yaw, pitch, roll = np.degrees(label)
    np.testing.assert_allclose(dataset.pose, [[yaw, pitch, -roll]], rtol=1e-6, atol=1e-30)
    np.testing.assert_array_equal(dataset.box, [[0, 0, 6, 4]])
    assert dataset.names == ["a.b c"]


def test_datamodule_adds_nothing_to_ready_crops(written: dict[str, Path]) -> None:
    datamodule = AFLWDataModule(written["text"], FSANetCrop(48), max_angle=None)
    shown = datamodule.faces([0])["image"][0].permute(1, 2, 0).numpy()
    # FSA-Net's rule never takes the last row and column.
    np.testing.assert_array_equal(shown, cv2.resize(datamodule.dataset.image(0)[:-1, :-1], (48, 48)))
    assert datamodule.rules == {"dataset": "AFLW", "max_angle": None, "box": "ready_crops", "part": "all"}
    datamodule = AFLWDataModule(written["sqlite"], HopenetCrop(48), max_angle=99, part="test", part_seed=3)
    drawn = {"part": "test", "part_seed": 3}
    assert datamodule.rules == {"dataset": "AFLW", "max_angle": 99, "box": "annotated", **drawn}
    whole = datamodule.dataset.image(0), datamodule.dataset.box[0]
    shown = datamodule.faces([0])["image"][0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(shown, HopenetCrop(48)(*whole))


def test_datamodule_keeps_photographs_apart_and_takes_lists(written: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("\n".join(FACES[2:]))
    datamodule = AFLWDataModule(
        written["sqlite"], FSANetCrop(), batch_size=2, val_fraction=0.25, max_angle=None, faces=tmp_path / "train.txt"
    )
    assert datamodule.rules["faces"] == "train.txt"
    assert "part" not in datamodule.rules
    assert datamodule.dataset.names == FACES[2:]
    sides = [
        {datamodule.dataset.photo_of(FACES[2:][i]) for i in side} for side in (datamodule.split.train, datamodule.split.val)
    ]
    assert not sides[0] & sides[1]
    assert [len(side) for side in sides] == [3, 1]
    assert next(iter(datamodule.train_dataloader()))["image"].shape == (2, 3, 64, 64)


def test_faces_without_a_pose_or_a_rectangle_are_not_labelled(database: Path) -> None:
    everything = AFLW(database)
    change(database, "DELETE FROM FacePose WHERE face_id = 3", "DELETE FROM FaceRect WHERE face_id = 1")
    fewer = AFLW(database)
    assert fewer.num_filtered == everything.num_filtered + 2
    assert {name.rpartition("_")[2] for name in set(everything.names) - set(fewer.names)} == {"1", "3"}


@pytest.mark.parametrize("seed", [None, -1, 1.5, "abc", True], ids=str)
def test_a_draw_needs_a_seed(database: Path, seed: object) -> None:
    assert f"part_seed={seed} is no seed" in refusal(database, part="test", part_seed=seed)
    with pytest.raises(InputError, match="is no seed; give a whole number from 0 on"):
        biwi_sequences("test", "sequence", seed)  # type: ignore[arg-type]
