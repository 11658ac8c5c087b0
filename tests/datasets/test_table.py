from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from headpose.datamodules import CSVDataModule
from headpose.datasets.table import CSVTable
from headpose.errors import InputError
from headpose.geometry.crops import FSANetCrop, HopenetCrop, MarginCrop


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
        ("path,yaw,pitch,roll\n", "holds none of its pictures"),
        ("path,yaw,pitch,roll\na.jpg,100,2,3\n", "1 beyond ±99.0 degrees"),
        ("", "no column path"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CSVTable(write(tmp_path, text))


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
