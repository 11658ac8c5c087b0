"""Where pictures come from: files, folders, videos and cameras, one frame after the other, read ahead of their use."""

import contextlib
import glob
import math
import os
import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headposekit.errors import InputError
from headposekit.pictures import MAX_MEGAPIXELS, check_size, has_picture_header, read_image
from headposekit.safe_files import open_file, refuse_address
from headposekit.types import Image

PICTURES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif",
    ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".ras", ".sr", ".jp2", ".j2k", ".jpf", ".jpx",
})  # fmt: skip
"""Suffixes of pictures, in any letter case. HEIC cannot be read here, but is listed rather than passed over."""
VIDEOS = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".avi", ".divx", ".mkv", ".webm", ".mpg", ".mpeg", ".mpe", ".m2v",
    ".vob", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogg", ".mxf", ".dv", ".y4m", ".mjpg",
    ".mjpeg", ".h264", ".264", ".h265", ".hevc", ".ivf", ".nut", ".rm", ".rmvb",
})  # fmt: skip
"""Suffixes of videos, in any letter case."""
AHEAD = 4
"""Frames that are read before they are needed; few, since a picture may have 40 megapixels."""


@dataclass
class Input:
    """A file or a camera.

    Attributes:
        path: the file, or the number of the camera.
        name: how rows call it: the path below the folder that was given, with forward slashes, as valid UTF-8.
    """

    path: Path | int
    name: str

    @cached_property
    def is_picture(self) -> bool:
        """Whether it is a single picture: by its suffix or, where that is unknown, by its first bytes."""
        if isinstance(self.path, int):
            return False
        suffix = self.path.suffix.lower()
        if suffix in PICTURES or suffix in VIDEOS:
            return suffix in PICTURES
        try:
            return has_picture_header(self.path)
        except InputError:
            return True  # and reading it says what is wrong


@dataclass
class Frame:
    """A picture, or a frame of a video; or the reason why there is none.

    Attributes:
        source: where it comes from.
        image: (H, W, 3) uint8 RGB, or None where it cannot be read.
        index, time: number and seconds of a frame in its video; None of a picture.
        fps: frames a second of the video.
        problem: why it cannot be read.
    """

    source: Input
    image: Image | None
    index: int | None = None
    time: float | None = None
    fps: float | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """That by which a file of boxes knows it: the file's, and `/` and five digits for a frame of a video."""
        return self.source.name if self.index is None else f"{self.source.name}/{self.index:05d}"


def find_inputs(given: Any, recursive: bool = False) -> list[Input]:
    """The files and cameras that `input=` means: a picture, video, folder, pattern, number of a camera, or a list of these.

    What is there as a file or folder comes before a pattern or camera; `recursive` is for folders below a folder. InputError
    for something that is not there, or a folder or pattern without pictures and videos.
    """
    found: list[Input] = []
    for one in given if isinstance(given, list | tuple) else [given]:
        try:
            found += _find(one, recursive)
        except OSError as error:
            raise InputError(f"input={one}: cannot be looked at ({error.strerror}); check the path") from error
    names = Counter(source.name for source in found)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise InputError(f"input: several files would be called {twice}; give the folder that holds them, with recursive=true")
    return found


def _find(given: Any, recursive: bool) -> list[Input]:
    path = Path(str(given))
    if path.is_dir():
        files = sorted(file for file in (path.rglob("*") if recursive else path.glob("*")) if _is_known(file))
        if not files:
            below = "" if recursive else "; recursive=true looks below it"
            raise InputError(f"input={path}: no picture or video in this folder{below}")
        return [_file(file, file.relative_to(path)) for file in files]
    if path.exists():
        return [_file(path, path.name)]
    if glob.has_magic(str(given)):
        files = sorted(Path(file) for file in glob.glob(str(given), recursive=True) if not Path(file).is_dir())
        if not files:
            raise InputError(f"input={given}: no file is named so")
        common = os.path.commonpath([file.absolute().parent for file in files])
        return [_file(file, os.path.relpath(file, common)) for file in files]
    if re.fullmatch("[0-9]{1,4}", str(given)):
        return [Input(int(given), f"camera{int(given)}")]
    refuse_address(str(given))
    quoting = "" if isinstance(given, str) else f"; put a name in quotes, as in 'input=\"{given}\"'"
    raise InputError(f"input={given}: no such file, folder or camera; check the path{quoting}")


def _file(path: Path, name: str | Path) -> Input:
    return Input(path, printable(Path(name).as_posix()))


def printable(text: str) -> str:
    """A text as valid UTF-8: what a file's name holds beside that is escaped."""
    return text.encode("utf-8", errors="backslashreplace").decode()


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in PICTURES | VIDEOS and not path.name.startswith("._") and not path.is_dir()


def count_frames(source: Input) -> int | None:
    """How many frames there are to come, one where only a problem is; None where nobody knows."""
    if source.is_picture:
        return 1
    if isinstance(source.path, int):
        return None
    with contextlib.suppress(InputError, cv2.error), _open_video(source.path) as video:
        count = video.get(cv2.CAP_PROP_FRAME_COUNT) if video.isOpened() else 1
        return int(count) if 0 < count < math.inf else None
    return 1


def read_frames(inputs: Iterable[Input], max_megapixels: float = MAX_MEGAPIXELS) -> Iterator[Frame]:
    """All frames of all inputs, in order; what cannot be read, or is larger than the limit, is a frame without a picture."""
    for source in inputs:
        try:
            if source.is_picture:
                yield Frame(source, read_image(Path(str(source.path)), max_megapixels))
            else:
                yield from _read_video(source, max_megapixels)
        except InputError as error:
            yield Frame(source, None, problem=printable(str(error)))


@contextlib.contextmanager
def _open_video(path: Path | int) -> Iterator[cv2.VideoCapture]:
    """A camera or a video, open if OpenCV can read it; InputError for a file that cannot be opened at all."""
    with contextlib.ExitStack() as stack:
        if isinstance(path, int):
            video = cv2.VideoCapture(path)
        else:
            file = stack.enter_context(open_file(path))
            name = str(path.absolute())  # FFmpeg takes the relative name `a:b` for an address
            # A name that is not UTF-8 would end the process inside OpenCV.
            video = cv2.VideoCapture(name if printable(name) == name else f"/dev/fd/{file.fileno()}", cv2.CAP_FFMPEG)
        stack.callback(video.release)
        yield video


def _read_video(source: Input, max_megapixels: float) -> Iterator[Frame]:
    is_camera = isinstance(source.path, int)
    with _open_video(source.path) as video:
        width, height = video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)
        check_size(str(source.path), width, height, max_megapixels)
        fps, expected = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
        fps = fps if math.isfinite(fps) and fps > 0 else 25.0
        start, index, last = time.monotonic(), 0, -1.0
        while (image := _next_image(video)) is not None:
            seconds = time.monotonic() - start if is_camera else video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = seconds if seconds > last else last + 1 / fps  # some containers hold no times
            last = seconds
            yield Frame(source, image, index, seconds, fps)
            index += 1
        if not index and isinstance(source.path, int):
            raise InputError(f"camera {source.path} gives no picture, and no file or folder is called {source.path}; check it")
        if not index:
            assert isinstance(source.path, Path)
            kinds = "video" if source.path.suffix.lower() in VIDEOS else "picture or video"
            raise InputError(f"{source.path}: not a readable {kinds}; check it")
        if not is_camera and index < expected - max(2, expected // 100):  # containers may be off by a frame or two
            problem = printable(f"{source.path}: only {index} of {expected:.0f} frames can be read; fetch it again")
            yield Frame(source, None, index, None, fps, problem)


def _next_image(video: cv2.VideoCapture) -> Image | None:
    """The next frame, (H, W, 3) RGB; None where there is no other one."""
    try:
        is_read, image = video.read()
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8) if is_read else None
    except (cv2.error, MemoryError):
        return None


def ahead(frames: Iterable[Frame], size: int = AHEAD) -> Iterator[Frame]:
    """The same frames, read in a thread of their own before they are asked for."""
    unread = iter(frames)
    reader = ThreadPoolExecutor(1, "reader")
    try:
        ready = deque(reader.submit(next, unread, None) for _ in range(size))
        while (frame := ready.popleft().result()) is not None:
            ready.append(reader.submit(next, unread, None))
            yield frame
    finally:
        reader.shutdown(cancel_futures=True)


def in_batches(frames: Iterable[Frame], size: int, megapixels: float = 50.0) -> Iterator[list[Frame]]:
    """Frames by up to `size`, fewer where pictures are large."""
    batch: list[Frame] = []
    pixels = 0
    for frame in frames:
        pixels += 0 if frame.image is None else frame.image.shape[0] * frame.image.shape[1]
        batch.append(frame)
        if len(batch) == size or pixels > megapixels * 1e6:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch
