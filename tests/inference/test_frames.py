import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from headpose.errors import InputError
from headpose.inference.sources import Frame, Input, ahead, count_frames, find_inputs, in_batches, read_frames

RNG = np.random.default_rng(0)


def write_video(path: Path, frames: int, fps: float = 20.0) -> None:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (64, 48))
    for number in range(frames):
        video.write(np.full((48, 64, 3), (0, 0, 10 * number), dtype=np.uint8))  # BGR: redder and redder
    video.release()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "below/c.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), RNG.integers(0, 255, (10, 12, 3), dtype=np.uint8))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path / "in"


def names(found: list[Input]) -> list[str]:
    return [source.name for source in found]


def test_what_input_means(folder: Path) -> None:
    assert names(find_inputs(str(folder))) == ["a.PNG", "b.jpg"]
    assert names(find_inputs(str(folder), recursive=True)) == ["a.PNG", "b.jpg", "below/c.jpg"]
    assert names(find_inputs(str(folder / "b.jpg"))) == ["b.jpg"]
    assert names(find_inputs(f"{folder}/**/*.jpg")) == ["b.jpg", "below/c.jpg"]
    assert names(find_inputs([str(folder / "b.jpg"), 0])) == ["b.jpg", "camera0"]
    assert find_inputs(0)[0].path == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gone.jpg", "input=gone.jpg: no such file, folder or camera"),
        ("empty", "input=empty: no picture or video in this folder; recursive=true looks below"),
        ("*.bmp", r"input=\*.bmp: no file is named so"),
        (["in/b.jpg", "in/b.jpg"], "several files would be called b.jpg"),
        (True, "input=True: no such file"),
        (-1, "input=-1: no such file"),
    ],
    ids=str,
)
def test_refusals(folder: Path, monkeypatch: pytest.MonkeyPatch, given: object, message: str) -> None:
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_inputs(given)


def test_frames_of_a_video_with_their_times(tmp_path: Path) -> None:
    write_video(tmp_path / "x.mp4", 12, fps=20)
    (source,) = find_inputs(str(tmp_path / "x.mp4"))
    assert count_frames(source) == 12
    frames = list(read_frames([source]))
    assert [frame.index for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 20, atol=1e-6)
    assert {frame.fps for frame in frames} == {20.0}
    for number, frame in enumerate(frames):
        assert frame.image is not None
        np.testing.assert_allclose(frame.image[24, 32], (10 * number, 0, 0), atol=6)  # RGB
    assert frames[3].name == "x.mp4/00003"


def test_what_cannot_be_read_is_a_frame_that_says_so(tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "b.jpg").write_bytes(b"")
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "text.avi").write_text("no video")
    sources = find_inputs([str(folder), str(tmp_path / "zero.mp4"), str(tmp_path / "text.avi"), 99])
    frames = list(read_frames(sources))
    assert [frame.image is None for frame in frames] == [False, True, True, True, True]
    reasons = [frame.problem for frame in frames[1:]]
    for reason, part in zip(reasons, ("empty file", "not a readable video", "not a readable video", "camera 99"), strict=True):
        assert part in reason
    assert capfd.readouterr().err == ""


def test_video_that_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "x.avi"  # an index at its end, frames before it
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(40):
        video.write(RNG.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    video.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = list(read_frames(find_inputs(str(path))))
    assert 10 < len(frames) < 30
    assert all(frame.image is not None for frame in frames[:-1])
    assert f"only {len(frames) - 1} of 40 frames can be read" in frames[-1].problem


def test_reading_ahead_changes_nothing_and_stops_with_its_user(folder: Path) -> None:
    sources = find_inputs(str(folder), recursive=True)
    plain, early = list(read_frames(sources)), list(ahead(read_frames(sources)))
    assert [frame.name for frame in plain] == [frame.name for frame in early]
    running = threading.active_count()
    endless = ahead(Frame(sources[0], None) for _ in iter(int, 1))
    next(endless)
    assert threading.active_count() == running + 1
    endless.close()
    assert threading.active_count() == running


def test_error_while_reading_ahead_arrives() -> None:
    def broken() -> Iterator[Frame]:
        yield Frame(Input(Path("x"), "x"), None)
        raise InputError("over")

    with pytest.raises(InputError, match="over"):
        list(ahead(broken()))


def test_large_pictures_make_small_batches() -> None:
    small, large = (Frame(Input(Path("x"), "x"), np.empty((side, 1000, 3), dtype=np.uint8)) for side in (100, 4000))
    sizes = [len(batch) for batch in in_batches([small] * 5 + [large] * 3 + [small], 3, megapixels=5)]
    assert sizes == [3, 3, 2, 1]


def test_a_broken_video_counts_as_one_problem(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").write_bytes(b"")
    (source,) = find_inputs(str(tmp_path / "zero.mp4"))
    assert count_frames(source) == len(list(read_frames([source]))) == 1
