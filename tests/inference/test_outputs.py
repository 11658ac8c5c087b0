import contextlib
import csv
import json
import math
import resource
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from headposekit.errors import InputError
from headposekit.inference.estimator import HeadPose
from headposekit.inference.outputs import COLUMNS, SPREAD, Drawing, TableWriter, draw_faces, pose_row
from headposekit.inference.sources import Frame, Input, find_inputs, read_frames
from headposekit.inference.stream import TrackedPose

PICTURE = np.full((90, 120, 3), 128, dtype=np.uint8)
FACE = TrackedPose(HeadPose((30.0, 20.0, 80.0, 75.0), None, 10.12345, -5.0, 0.5, (1.0, 2.0, 3.0)), 4)


def frame_of(name: str, index: int | None = None) -> Frame:
    return Frame(Input(Path(name), name), PICTURE, index, None if index is None else index / 25, 25.0)


def test_rows_in_both_forms(tmp_path: Path) -> None:
    row = pose_row(frame_of("a, b.mp4", 3), FACE)
    with TableWriter(tmp_path / "x.csv", COLUMNS + SPREAD, "csv") as table:
        table.write([row])
        content = list(csv.DictReader((tmp_path / "x.csv").open(newline="")))  # while it is being written
    cells = ["a, b.mp4", "3", "0.12", "30.0", "20.0", "80.0", "75.0", "", "4", "10.123", "-5.0", "0.5", "1.0", "2.0", "3.0", ""]
    assert content == [dict(zip(COLUMNS + SPREAD, cells, strict=True))]
    with TableWriter(tmp_path / "x.jsonl", COLUMNS, "jsonl") as table:
        table.write([row, row])
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert lines[0] == lines[1] == {column: row[column] for column in COLUMNS}
    assert lines[0]["score"] is None


def test_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    row = pose_row(frame_of("x.jpg"), FACE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TableWriter(tmp_path / "x.csv", COLUMNS, "csv") as table:
        table.write([row])
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))  # no file may grow beyond, so half of the next rows fit
        try:
            with pytest.raises(InputError, match=r"x.csv: cannot be written \(File too large\); check the folder"):
                table.write([row] * 9)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        size = (tmp_path / "x.csv").stat().st_size
        table.write([row])  # there is room again
    assert size < 200
    rows = list(csv.DictReader((tmp_path / "x.csv").open(newline="")))
    assert len(rows) == 2
    assert all(None not in found.values() and found["roll"] == "0.5" for found in rows)


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone/x\.csv: cannot be written \(No such file"):
        TableWriter(tmp_path / "gone" / "x.csv", COLUMNS, "csv")
    with pytest.raises(InputError, match="format=xml is unknown"):
        TableWriter(tmp_path / "x.xml", COLUMNS, "xml")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="draw=mask is unknown"):
        Drawing(tmp_path, "mask")  # type: ignore[arg-type]
    (tmp_path / "drawn").write_text("a file where a folder should be")
    with pytest.raises(InputError, match=r"drawn/x\.jpg: "), Drawing(tmp_path / "drawn", "axes") as drawing:
        drawing.write(frame_of("x.jpg"), [FACE])
    with pytest.raises(InputError, match=r"drawn/x\.avi\.mp4: "), Drawing(tmp_path / "drawn", "axes") as drawing:
        drawing.write(frame_of("x.avi", 0), [FACE])


@pytest.mark.parametrize("kind", ["axes", "cube"])
def test_drawn_files_keep_their_names(tmp_path: Path, kind: str) -> None:
    with Drawing(tmp_path, kind) as drawing:  # type: ignore[arg-type]
        for name in ("a.jpg", "below/b.png", "c.gif.unknown"):
            drawing.write(frame_of(name), [FACE])
        for index in range(6):
            drawing.write(frame_of("d.mp4", index), [FACE])
        for index in range(3):
            drawing.write(frame_of("e.avi", index), [])
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["a.jpg", "below/b.png", "c.gif.unknown.png", "d.mp4", "e.avi.mp4"]
    drawn = cv2.imread(str(tmp_path / "below" / "b.png"))[..., ::-1]
    np.testing.assert_array_equal(drawn, draw_faces(PICTURE, [FACE], kind))  # type: ignore[arg-type]
    assert (drawn != PICTURE).any(axis=-1).mean() > 0.02
    for name, count in (("d.mp4", 6), ("e.avi.mp4", 3)):
        frames = list(read_frames(find_inputs(str(tmp_path / name))))
        assert len(frames) == count
        assert math.isclose(frames[0].fps or 0, 25)


def test_nothing_is_drawn_unasked(tmp_path: Path) -> None:
    with Drawing(tmp_path / "drawn", "none") as drawing:
        drawing.write(frame_of("x.jpg"), [FACE])
    assert not (tmp_path / "drawn").exists()


def test_video_that_did_not_get_all_its_frames(tmp_path: Path) -> None:
    drawing = Drawing(tmp_path, "axes")
    for index in range(5):
        drawing.write(frame_of("x.mp4", index), [])
    drawing._frames += 7  # as if these had not fitted onto the disk
    with pytest.raises(InputError, match=r"x.mp4: only 5 of 12 frames could be written; check the room left"):
        drawing.close()


@pytest.mark.parametrize(
    ("fps", "drawn"),
    [(66.667, 66.67), (119.96, 119.96), (240.123, 240.12), (29.97, 29.97), (1000.0, 1000.0), (90000.0, 65535.0), (0.001, 0.01),
     (0.5, 0.5), (float("nan"), 25.0), (float("inf"), 25.0), (0.0, 25.0), (-5.0, 25.0), (1e300, 65535.0), (1e-300, 0.01)],
)  # fmt: skip
def test_videos_are_drawn_at_the_nearest_rate_that_can_be_written(tmp_path: Path, fps: float, drawn: float) -> None:
    with Drawing(tmp_path, "axes") as drawing:
        for index in range(4):
            drawing.write(replace(frame_of("x.mp4", index), fps=fps), [FACE])
    assert drawing.problems == []
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]
    video = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(drawn, rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (20, 9000), (9000, 20)], ids=str)
def test_a_video_that_the_format_cannot_hold_is_not_drawn_and_the_rest_is(tmp_path: Path, shape: tuple[int, int]) -> None:
    with Drawing(tmp_path, "axes") as drawing:
        for name, image in (("a.mp4", np.zeros((*shape, 3), np.uint8)), ("b.mp4", PICTURE)):
            for index in range(3):
                drawing.write(replace(frame_of(name, index), image=image), [])
    assert drawing.problems == [
        f"{tmp_path}/a.mp4: not drawn; MPEG-4 does not take {shape[1]}×{shape[0]} pixels at 25 frames/s"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]


@pytest.mark.parametrize(
    ("error", "left"), [(KeyboardInterrupt(), ["x.mp4"]), (InputError("elsewhere"), []), (None, ["x.mp4"])], ids=repr
)
def test_what_is_left_of_a_video_when_something_else_ends_it(
    tmp_path: Path, error: BaseException | None, left: list[str]
) -> None:
    with contextlib.suppress(KeyboardInterrupt, InputError), Drawing(tmp_path, "axes") as drawing:
        for index in range(3):
            drawing.write(frame_of("x.mp4", index), [])
            assert not (tmp_path / "x.mp4").exists()  # before it is whole
        if error:
            raise error
    assert [path.name for path in tmp_path.iterdir()] == left


@pytest.mark.parametrize(
    ("name", "index", "message"),
    [("x.png", None, r"x\.png: cannot be written"), ("x.mp4", 0, r"x\.mp4: only \d of 5 frames could be written")],
    ids=["picture", "video"],
)
def test_nothing_is_left_of_what_did_not_fit(tmp_path: Path, name: str, index: int | None, message: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    frames = [replace(frame_of(name, index), image=np.roll(noise, number)) for number in range(5)]
    drawing = Drawing(tmp_path, "axes")

    def draw() -> None:
        for frame in frames:
            drawing.write(frame, [])
        drawing.close()

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))  # no file may grow beyond
    try:
        with pytest.raises(InputError, match=message):
            draw()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_formats_that_cannot_hold_the_drawn_picture_become_png(tmp_path: Path) -> None:
    names = ["a.pbm", "b.heic", "c.jfif", "d", "e.PGM", "f.hdr.exr"]
    with Drawing(tmp_path, "axes") as drawing:
        for name in names:
            drawing.write(frame_of(name), [FACE])
        drawing.write(replace(frame_of("g.webp"), image=np.zeros((3, 17000, 3), np.uint8)), [])  # wider than the format
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.png" for name in [*names, "g.webp"]]


def test_a_table_is_utf_8_whatever_it_is_given(tmp_path: Path) -> None:
    for form in ("csv", "jsonl"):
        with TableWriter(tmp_path / f"x.{form}", COLUMNS, form) as table:  # type: ignore[arg-type]
            table.write([pose_row(frame_of("caf\udce9.jpg"), FACE)])
        assert "caf\\udce9.jpg" in (tmp_path / f"x.{form}").read_text(encoding="utf-8")
