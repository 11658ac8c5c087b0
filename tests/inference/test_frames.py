import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from headposekit.errors import InputError
from headposekit.inference.sources import Frame, Input, ahead, count_frames, find_inputs, in_batches, read_frames

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
    (tmp_path / "in" / "._b.jpg").write_bytes(b"\0\5\x16\7")  # of macOS, beside a file on a foreign disk
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
        ("https://example.org/a.jpg", "a web address; download the file"),
        ("empty", "input=empty: no picture or video in this folder; recursive=true looks below"),
        ("*.bmp", r"input=\*.bmp: no file is named so"),
        (["in/b.jpg", "in/b.jpg"], "several files would be called b.jpg"),
        (True, "input=True: no such file"),
        (-1, "input=-1: no such file"),
        ("12345", "input=12345: no such file"),
        (1.1, """input=1.1: no such file.*; put a name in quotes, as in 'input="1.1"'"""),
        ("x" * 300, "input=x.*: cannot be looked at .File name too long"),
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


def test_pictures_of_a_camera_have_the_time_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Camera:
        """Gives three pictures, each a tenth of a second after the one before, and says nothing of times."""

        def __init__(self, number: int) -> None:
            assert number == 7
            self.left = 3

        def read(self) -> tuple[bool, np.ndarray | None]:
            time.sleep(0.1)
            self.left -= 1
            return self.left >= 0, np.full((48, 64, 3), (200, 0, 10), dtype=np.uint8)  # BGR

        def get(self, key: int) -> float:
            return {cv2.CAP_PROP_FRAME_WIDTH: 64, cv2.CAP_PROP_FRAME_HEIGHT: 48}.get(key, -1.0)

        def release(self) -> None:
            self.left = 0

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    camera = find_inputs("7")
    assert count_frames(camera[0]) is None
    frames = list(read_frames(camera))
    assert [frame.name for frame in frames] == ["camera7/00000", "camera7/00001", "camera7/00002"]
    assert all(frame.image is not None and frame.image[0, 0].tolist() == [10, 0, 200] for frame in frames)
    times = [frame.time or 0.0 for frame in frames]
    assert np.all(np.diff([0.0, *times]) > 0.09)


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


@pytest.mark.parametrize("given", [10, "10"])
def test_a_folder_or_file_comes_before_the_camera_of_that_number(folder: Path, monkeypatch: pytest.MonkeyPatch, given) -> None:
    monkeypatch.chdir(folder.parent)
    assert find_inputs(given) == [Input(10, "camera10")]
    assert "camera 10 gives no picture, and no file or folder is called 10" in next(read_frames(find_inputs(given))).problem
    (folder / "b.jpg").rename("10")
    assert names(find_inputs(given)) == ["10"]
    assert next(read_frames(find_inputs(given))).image is not None  # a picture by its first bytes
    Path("10").unlink()
    folder.rename("10")
    assert names(find_inputs(given)) == ["a.PNG"]


@pytest.mark.parametrize("name", ["x.3gp", "x.flv", "x.ts", "x.MTS", "x.m2ts", "x.ogv", "x.asf", "x.VOB", "x.mp4"])
def test_known_suffixes_of_videos_in_folders(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "v.mp4", 4)
    (tmp_path / "v.mp4").rename(tmp_path / name)
    (source,) = find_inputs(str(tmp_path))
    assert len([frame for frame in read_frames([source]) if frame.image is not None]) == 4
    assert source.name == name


@pytest.mark.parametrize("name", ["video", "video.backup", "12:30.mp4", "take%02d.mp4", "tag: ü 顔.mp4"])
def test_a_video_by_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_video(tmp_path / "v.mp4", 4)
    (tmp_path / "v.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    frames = list(read_frames(find_inputs(name)))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "suffix", [".jpg", ".JPE", ".jfif", ".png", ".dib", ".tif", ".ppm", ".RAS", ".sr", ".webp", ".jp2", ".pnm"]
)
def test_known_suffixes_of_pictures_in_folders(tmp_path: Path, suffix: str) -> None:
    kind = {".jfif": ".jpg"}.get(suffix, suffix.lower())
    (tmp_path / f"x{suffix}").write_bytes(cv2.imencode(kind, RNG.integers(0, 255, (50, 60, 3), dtype=np.uint8))[1].tobytes())
    (frame,) = read_frames(find_inputs(str(tmp_path)))
    assert frame.image is not None
    assert frame.image.shape == (50, 60, 3)


def test_what_has_no_known_suffix_is_told_by_its_bytes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((10, 12, 3), np.uint8))
    (tmp_path / "x.png").rename(tmp_path / "download")
    (tmp_path / "letter.txt").write_text("neither")
    frames = list(read_frames(find_inputs([str(tmp_path / "download"), str(tmp_path / "letter.txt")])))
    assert frames[0].image is not None
    assert "letter.txt: not a readable picture or video" in frames[1].problem


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", 3)
    for name in (b"caf\xe9.mp4", b"caf\xe9"):
        os.link(os.fsencode(tmp_path / "v.mp4"), os.fsencode(tmp_path) + b"/" + name)
    (tmp_path / "v.mp4").unlink()
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((10, 12, 3), np.uint8))
    os.rename(os.fsencode(tmp_path / "x.png"), os.fsencode(tmp_path) + b"/\xff.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.png")).write_bytes(b"broken")
    sources = find_inputs(str(tmp_path))
    assert names(sources) == ["caf\\udce9.mp4", "\\udcfe.png", "\\udcff.png"]
    assert [count_frames(source) for source in sources] == [3, 1, 1]
    frames = list(read_frames([*sources, *find_inputs(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))]))
    assert [frame.image is None for frame in frames] == [False] * 3 + [True] + [False] * 4
    assert "\\udcfe.png: not a readable picture" in frames[3].problem
    for frame in frames:
        (frame.name + frame.problem).encode()


def test_a_pipe_or_a_dead_link_is_listed_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b.mp4")
    (tmp_path / "c.jpg").symlink_to("gone.jpg")
    os.mkfifo(tmp_path / "pipe")
    sources = find_inputs([str(tmp_path), str(tmp_path / "pipe")])
    assert [count_frames(source) for source in sources] == [1] * 4
    problems = [frame.problem for frame in read_frames(sources)]
    assert [problem.split(": ")[1] for problem in problems] == [
        "a pipe or device, expected a file; check the path",
        "a pipe or device, expected a file; check the path",
        "no such file; check the path",
        "a pipe or device, expected a file; check the path",
    ]


def test_one_limit_of_pixels_for_pictures_and_videos(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 3)  # 64×48
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((48, 64, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((40, 64, 3), np.uint8))
    frames = list(read_frames(find_inputs(str(tmp_path)), max_megapixels=0.003))
    assert [frame.image is None for frame in frames] == [True, True, False]
    for frame in frames[:2]:
        assert "64×48 pixels are more than max_megapixels=0.003; make it smaller" in frame.problem


def test_listing_takes_time_in_proportion_to_the_files(tmp_path: Path) -> None:
    first = tmp_path / "frame_00000.jpg"
    first.touch()
    for number in range(1, 6000):
        os.link(first, tmp_path / f"frame_{number:05d}.jpg")
    start = time.process_time()
    assert len(find_inputs(str(tmp_path))) == 6000
    assert time.process_time() - start < 2  # pairs of names alone would take 6


def test_of_many_files_those_that_share_a_name_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"several files would be called a\.PNG"):
        find_inputs([str(folder), str(folder)])
