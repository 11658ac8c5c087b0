import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from headposekit.datasets import CSVDataModule
from headposekit.datasets.table import CSVTable
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop, HopenetCrop, MarginCrop


def write(folder: Path, text: str, pictures: tuple[str, ...] = ("a.jpg", "sub/b c.png")) -> Path:
    for number, name in enumerate(pictures):
        (folder / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), np.full((40, 60 + number, 3), 50 * (number + 1), np.uint8))
    table = folder / "faces.csv"
    table.write_text(text, encoding="utf-8-sig")
    return table


def test_rows_are_faces(tmp_path: Path) -> None:
    dataset = CSVTable(
        write(
            tmp_path,
            "path, yaw,pitch,roll,x0,y0,x1,y1,subject,note\n"
            "a.jpg,10,-20,5.5,5,6,25,36,ann,x\n"
            "sub/b c.png,0,0,0,0,0,61,40,bob,\n"
            "a.jpg,-30,1,2,30,6,50,36,ann,second\n"
            "a.jpg,-130,1,2,30,6,50,36,ann,too far\n",
        )
    )
    assert dataset.names == ["a.jpg", "sub/b c.png", "a.jpg#2"]
    assert dataset.num_filtered == 1
    np.testing.assert_array_equal(dataset.pose, np.float32([[10, -20, 5.5], [0, 0, 0], [-30, 1, 2]]))
    np.testing.assert_array_equal(dataset.box, np.float32([[5, 6, 25, 36], [0, 0, 61, 40], [30, 6, 50, 36]]))
    assert dataset[1]["image"].shape == (40, 61, 3)
    np.testing.assert_array_equal(dataset.image(0), dataset.image(2))
    assert [dataset.photo_of(name) for name in dataset.names] == ["ann", "bob", "ann"]
    dataset.verify([0, 1, 2])


def test_without_subjects_a_picture_is_one(tmp_path: Path) -> None:
    dataset = CSVTable(write(tmp_path, f"path,yaw,pitch,roll\na.jpg,1,2,3\na.jpg,2,3,4\n{tmp_path}/sub/b c.png,1,2,3\n"))
    photos = [dataset.photo_of(name) for name in dataset.names]
    assert photos[0] == photos[1] != photos[2]


def test_datamodule_keeps_people_apart(tmp_path: Path) -> None:
    rows = "".join(f"a.jpg,{k},0,0,s{k // 3}\n" for k in range(30))
    table = write(tmp_path, "path,yaw,pitch,roll,subject\n" + rows)
    datamodule = CSVDataModule(table, MarginCrop(16), val_fraction=0.3, batch_size=4)
    people = [
        {datamodule.dataset.photo_of(datamodule.dataset.names[i]) for i in side}
        for side in (datamodule.split.train, datamodule.split.val)
    ]
    assert not people[0] & people[1]
    assert len(next(iter(datamodule.train_dataloader()))["pose"]) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,yaw,pitch\na.jpg,1,2\n", "no column roll; needed are path,yaw,pitch,roll"),
        ("path,yaw,pitch,roll,x0\na.jpg,1,2,3,4\n", "a box needs all of the columns x0,y0,x1,y1"),
        ("path,yaw,pitch,roll\na.jpg,1,left,3\n", "line 2: pitch is 'left', not a finite number"),
        ("path,yaw,pitch,roll\na.jpg,1,2,nan\n", "line 2: roll is 'nan'"),
        ("path,yaw,pitch,roll\na.jpg,1,2\n", "line 2: 3 cells under 4 columns; give each column a cell"),
        ("path,yaw,pitch,roll\nno.jpg,1,2,3\n", r"no\.jpg: the picture of an annotation is missing"),
        ("path,yaw,pitch,roll\nfaces.csv,1,2,3\n", r"faces\.csv: not a readable picture"),
        ("path,yaw,pitch,roll,x0,y0,x1,y1\na.jpg,1,2,3,9,9,5,5\n", r"line 2: the box \(9, 9, 5, 5\) has no area"),
        ("path,yaw,pitch,roll,x0,y0,x1,y1\na.jpg,1,2,3,5,5,20,\n", "line 2: give every row its box"),
        ("path,yaw,pitch,roll,x0,y0,x1,y1\na.jpg,1,2,3,5,5,20,9\na.jpg,1,2,3,,,,\n", "line 3: give every row its box"),
        ("path,yaw,pitch,roll\n,,,\n", "line 2: no path"),
        ("path,yaw,pitch,roll\na.jpg,-16,81,5,51,-12,06\n", "line 2: 7 cells under 4 columns; write decimals with a point"),
        ("path,yaw,pitch,roll,yaw\na.jpg,1,2,3,4\n", "column 'yaw' is named twice"),
        (
            "path;yaw;pitch;roll\na.jpg;-16,81;2;3\n",
            "line 2: yaw is '-16,81', not a finite number; write decimals with a point",
        ),
        ("path,yaw,pitch,roll\n\n\na.jpg,1,2,3\na.jpg,abc,2,3\n", "line 5: yaw is 'abc'"),
        ("path,yaw,pitch,roll\n/,1,2,3\n/,1,2,3\n", "line 2: the path '/' names no file"),
        ("path,yaw,pitch,roll\n.,1,2,3\n.,1,2,3\n", "line 2: the path '.' names no file"),
        ('path,yaw,pitch,roll\n"a\nb.jpg",1,2,3\n', r"line 2: the path 'a\\nb.jpg' holds a line break"),
        ("path,yaw,pitch,roll\nsub,1,2,3\n", "sub: the picture of an annotation is missing"),
        (f"path,yaw,pitch,roll\n{'a' * 600}.jpg,1,2,3\n", "the picture of an annotation is missing"),
        (f"path,yaw,pitch,roll\n{'a' * 5000}.jpg,1,2,3\n", r"line 2: the path 'a{40}\.\.\.' has 5,004 letters; correct"),
        ("path,yaw,pitch,roll,x0,y0,x1,y1\na.jpg,1,2,3,-100000,-100000,100000,100000\n", "line 2: .* more than twice as large"),
        ("path,yaw,pitch,roll,x0,y0,x1,y1\na.jpg,1,2,3,600,600,700,700\n", "line 2: .* outside its picture of 60×40"),
        ("path,yaw,pitch,roll,x0,y0,x1,y1\na.jpg,1,2,3,0,0,1e300,5\n", "line 2: .* more than twice as large"),
        ("path,yaw,pitch,roll\n", "holds none of its pictures"),
        ("path,yaw,pitch,roll\na.jpg,100,2,3\n", "1 beyond ±99.0 degrees"),
        ("", "no column path"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        CSVTable(write(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file; .*set data\.root"):
        CSVTable(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="cannot be read as a CSV file"):
        CSVTable(tmp_path / "x.csv")


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    dataset = CSVTable(write(tmp_path, "path,yaw,pitch,roll\na.jpg,1,2,3\nno.jpg,1,2,3\n"), bad_files="skip")
    assert len(dataset) == 1
    assert list(dataset.skipped) == ["no.jpg"]


def test_pictures_without_boxes_are_crops_already(tmp_path: Path) -> None:
    table = write(tmp_path, "path,yaw,pitch,roll\nup.jpg,1,2,3\n")
    picture = np.arange(30 * 60 * 3, dtype=np.uint8).reshape(30, 60, 3)
    orientation = Image.Exif()
    orientation[0x0112] = 6  # lies on its side, as phones write them
    Image.fromarray(picture).save(tmp_path / "up.jpg", exif=orientation)
    for rule in (FSANetCrop(20), HopenetCrop(20), MarginCrop(20)):
        datamodule = CSVDataModule(table, rule)
        upright = datamodule.dataset.image(0)
        assert upright.shape == (60, 30, 3)
        np.testing.assert_array_equal(datamodule.dataset.box, [[0, 0, 30, 60]])
        assert rule.name == "margin" or datamodule.faces([0])["image"].min(dim=2)[0].max() > 0
    boxed = write(tmp_path, "path,yaw,pitch,roll,x0,y0,x1,y1\na.jpg,1,2,3,0,0,60,40\n")
    assert CSVTable(boxed).has_boxes
    assert not np.array_equal(*(CSVDataModule(t, HopenetCrop(20)).faces([0])["image"] for t in (boxed, _without(tmp_path))))


def _without(folder: Path) -> Path:
    table = folder / "without.csv"
    table.write_text("path,yaw,pitch,roll\na.jpg,1,2,3\n")
    return table


def test_backslashes_separate_where_no_such_file_is_there(tmp_path: Path) -> None:
    table = write(tmp_path, "path,yaw,pitch,roll\nsub\\b c.png,1,2,3\nx\\y.png,1,2,3\n", ("sub/b c.png", "x\\y.png"))
    dataset = CSVTable(table)
    assert dataset.names == ["sub/b c.png", "x\\y.png"]
    assert [dataset.picture_of(path).is_file() for path in dataset.listed] == [True, True]


def test_many_faces_of_one_picture_have_names_of_their_own(tmp_path: Path) -> None:
    rows = "a.jpg,1,2,3\n" * 3 + "a.jpg#2,1,2,3\n" + "a.jpg,1,2,3\n"
    dataset = CSVTable(write(tmp_path, "path,yaw,pitch,roll\n" + rows, ("a.jpg", "a.jpg#2.png")), bad_files="skip")
    assert dataset.names == ["a.jpg", "a.jpg#2", "a.jpg#3", "a.jpg#4"]
    assert list(dataset.skipped) == ["a.jpg#2#2"]


def test_rows_of_one_picture_cost_the_same_each(tmp_path: Path) -> None:
    table = write(tmp_path, "path,yaw,pitch,roll\n" + "a.jpg,1,2,3\n" * 5000)
    start = time.process_time()
    assert CSVTable(table, bad_files="defer").listed[-1].name == "a.jpg#5000"
    assert time.process_time() - start < 5  # were each compared with all before it, a minute


def turned(roll: int) -> str:
    rows = "".join(f"a.jpg,{350 if k % 5 else 1},5,{roll - k}\n" for k in range(24))
    return "path,yaw,pitch,roll\n" + rows


def test_too_few_faces_say_why(tmp_path: Path) -> None:
    datamodule = CSVDataModule(write(tmp_path, turned(roll=20)), FSANetCrop(20), batch_size=8)
    with pytest.raises(
        InputError, match=r"5 training faces do not fill one batch of 8 \(left out: 19 beyond ±99.0 degrees; yaw: from"
    ):
        datamodule.train_dataloader()
    assert "they look like angles from 0 to 360" in datamodule.dataset.doubts[0]
    with pytest.raises(
        InputError, match=r"none of the 24 faces .*left out: 24 beyond ±99.0 degrees; yaw, roll: from 261 to 360"
    ):
        CSVTable(write(tmp_path, turned(roll=355)))


def test_a_pack_doubts_its_labels_and_counts_too(tmp_path: Path) -> None:
    from headposekit.data.packing import FixedPack

    source = CSVDataModule(write(tmp_path, turned(roll=20)), FSANetCrop(20)).faces_on_disk()
    dataset, _ = FixedPack(tmp_path / "packs", 0).open(source, 99.0, "raise")
    assert dataset.left_out().startswith("left out: 19 beyond ±99.0 degrees; yaw: from 261 to 360 degrees for 19 of 24 faces")
