import csv
import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from headposekit.datasets.table import CSVTable
from headposekit.errors import InputError
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_video import WritePictures, WriteVideo


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_video_turns_smoothly_and_its_truth_is_that_of_each_frame(tmp_path: Path) -> None:
    writer = WriteVideo(tmp_path, HeadSampler(seed=4), num_people=2, num_frames=6, size=64)
    assert len(writer[0]) == 6
    rows = rows_of(tmp_path / "video_00.csv")
    assert [(row["frame"], row["person"]) for row in rows] == [(str(frame), str(who)) for frame in range(6) for who in (0, 1)]
    video = cv2.VideoCapture(str(tmp_path / "video_00.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == 25
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert np.array(frames).shape == (6, 64, 128, 3)
    change = np.abs(np.diff(np.array(frames).astype(float), axis=0)).mean()
    assert 0.2 < change < 12
    for person in (0, 1):
        pose = np.array([[float(row[key]) for key in ("yaw", "pitch", "roll")] for row in rows[person::2]])
        box = np.array([[float(row[key]) for key in ("x0", "y0", "x1", "y1")] for row in rows[person::2]])
        assert 0 < np.abs(np.diff(pose, axis=0)).max() < 3
        assert np.abs(np.diff(pose, 2, axis=0)).max() < 0.15
        assert (box[:, 0] >= 64 * person).all()
        assert (box[:, 2] <= 64 * (person + 1)).all()
        head, truth, tight = writer._frame(person, 3 / 25)
        np.testing.assert_allclose(truth, pose[3], atol=1e-3)
        np.testing.assert_allclose(tight + [64 * person, 0, 64 * person, 0], box[3], atol=1e-3)
        shown = frames[3][:, 64 * person : 64 * (person + 1), ::-1]
        assert np.abs(shown.astype(float) - head).mean() < 12  # the codec's loss


def test_truth_that_cannot_be_written_leaves_the_earlier_video_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("video_00.mp4", "video_00.csv"):
        (tmp_path / name).write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # of a write, which has no name

    monkeypatch.setattr(csv, "writer", full)
    with pytest.raises(InputError, match=r"/video_00\.csv: cannot be written \(No space left on device\)"):
        WriteVideo(tmp_path, HeadSampler(), num_people=1, num_frames=2, size=64)[0]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("video_00.mp4", "video_00.csv"), b"old"
    )


def test_pictures_are_a_data_set(tmp_path: Path) -> None:
    heads = HeadSampler(seed=4)
    writer = WritePictures(tmp_path, heads, num_units=3, size=64)
    for number in (2, 0, 1, 1):  # workers have an order of their own; a second run writes the same again
        writer[number]
    writer.finish()
    writer.finish()
    data = CSVTable(tmp_path / "truth.csv")
    assert len(data) == 3
    head = writer.heads.render(2_000_000 + heads.poses_per_identity, 64)
    np.testing.assert_allclose(data.pose[1], head.pose, atol=1e-3)
    np.testing.assert_allclose(data.box[1], head.box, atol=1e-3)
    assert len({data.photo_of(name) for name in data.names}) == 3


@pytest.mark.parametrize("options", [{"num_people": 0}, {"num_frames": 0}, {"fps": 0}, {"size": 20}], ids=str)
def test_refusals(tmp_path: Path, options: dict[str, int]) -> None:
    message = r"layout\.size=20 is out of range" if "size" in options else "give 1 or more people and frames"
    with pytest.raises(InputError, match=message):
        WriteVideo(tmp_path, HeadSampler(), **options)
