"""Where pictures come from: files, folders, videos and cameras, one frame after the other, read ahead of their use."""

import glob
import math
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headpose.errors import InputError
from headpose.pictures import read_image
from headpose.types import Image

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".ppm", ".pgm"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
AHEAD = 4
"""Frames that are read before they are needed; few, since a picture may have 40 megapixels."""


@dataclass
class Input:
    """A file or a camera.

    Attributes:
        path: the file, or the number of the camera.
        name: how rows call it: the path below the folder that was given, with forward slashes.
    """

    path: Path | int
    name: str

    @property
    def is_picture(self) -> bool:
        """Whether it is a single picture."""
        return isinstance(self.path, Path) and self.path.suffix.lower() not in VIDEOS


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
    """The files and cameras that `input=` means.

    Args:
        given: a picture, a video, a folder, a pattern with `*`, the number of a camera, or a list of these.
        recursive: whether folders below a folder count.

    Raises:
        InputError: something that is not there, or a folder or pattern without pictures and videos.
    """
    found: list[Input] = []
    for one in given if isinstance(given, list | tuple) else [given]:
        if isinstance(one, int) and not isinstance(one, bool) and one >= 0:
            found.append(Input(one, f"camera{one}"))
            continue
        path = Path(str(one))
        if path.is_dir():
            files = sorted(file for file in (path.rglob("*") if recursive else path.glob("*")) if _is_known(file))
            if not files:
                below = "" if recursive else "; recursive=true looks below it"
                raise InputError(f"input={path}: no picture or video in this folder{below}")
            found += [Input(file, file.relative_to(path).as_posix()) for file in files]
        elif path.is_file():
            found.append(Input(path, path.name))
        elif glob.has_magic(str(one)):
            files = sorted(Path(file) for file in glob.glob(str(one), recursive=True) if Path(file).is_file())
            if not files:
                raise InputError(f"input={one}: no file is named so")
            found += [Input(file, Path(os.path.relpath(file, _common_folder(files))).as_posix()) for file in files]
        else:
            raise InputError(f"input={one}: no such file, folder or camera; check the path")
    names = [source.name for source in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"input: several files would be called {twice}; give the folder that holds them, with recursive=true")
    return found


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in PICTURES | VIDEOS and path.is_file()


def _common_folder(files: list[Path]) -> str:
    return os.path.commonpath([file.absolute().parent for file in files])


def count_frames(source: Input) -> int | None:
    """How many frames there are to come, one where only a problem is; None where nobody knows."""
    if source.is_picture:
        return 1
    if isinstance(source.path, int):
        return None
    video = cv2.VideoCapture(str(source.path))
    count = video.get(cv2.CAP_PROP_FRAME_COUNT) if video.isOpened() else 1
    video.release()
    return int(count) if count > 0 else None


def read_frames(inputs: Iterable[Input]) -> Iterator[Frame]:
    """All frames of all inputs, in order; what cannot be read is a frame without a picture."""
    for source in inputs:
        if source.is_picture:
            assert isinstance(source.path, Path)
            try:
                yield Frame(source, read_image(source.path))
            except InputError as error:
                yield Frame(source, None, problem=str(error))
        else:
            yield from _read_video(source)


def _read_video(source: Input) -> Iterator[Frame]:
    is_camera = isinstance(source.path, int)
    video = cv2.VideoCapture(source.path if is_camera else str(source.path))
    try:
        fps, expected = video.get(cv2.CAP_PROP_FPS), int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = fps if math.isfinite(fps) and fps > 0 else 25.0
        start, index, last = time.monotonic(), 0, -1.0
        while True:
            is_read, image = video.read()
            if not is_read:
                break
            seconds = time.monotonic() - start if is_camera else video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = seconds if seconds > last else last + 1 / fps  # some containers hold no times
            last = seconds
            yield Frame(source, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), index, seconds, fps)
            index += 1
        if not index:
            what = f"camera {source.path} gives no picture" if is_camera else f"{source.path}: not a readable video"
            yield Frame(source, None, problem=f"{what}; check it")
        elif not is_camera and index < expected - max(2, expected // 100):  # containers may be off by a frame or two
            problem = f"{source.path}: only {index} of {expected} frames can be read; fetch it again"
            yield Frame(source, None, index, None, fps, problem)
    finally:
        video.release()


def ahead(frames: Iterable[Frame], size: int = AHEAD) -> Iterator[Frame]:
    """The same frames, read in a thread of their own before they are asked for."""
    ready: queue.Queue[Frame | BaseException | None] = queue.Queue(size)
    stopped = threading.Event()

    def put(item: Frame | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for frame in frames:
                put(frame)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # on its way to whoever asks for the next frame
            put(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


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
