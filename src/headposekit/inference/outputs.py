"""What is left of a prediction: rows, written as they come, and drawn pictures and videos."""

import contextlib
import csv
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import cv2
import numpy as np

from headposekit.errors import InputError
from headposekit.files import append_bytes, encode_picture, replacing, write_bytes, writing
from headposekit.geometry.drawing import draw_axes, draw_cube
from headposekit.inference.sources import Frame, printable
from headposekit.inference.stream import TrackedPose
from headposekit.types import Image

Format = Literal["csv", "jsonl"]
Draw = Literal["none", "axes", "cube"]
COLUMNS = ("file", "frame", "time", "x0", "y0", "x1", "y1", "score", "track", "yaw", "pitch", "roll")
SPREAD = ("spread_yaw", "spread_pitch", "spread_roll", "spread")


class TableWriter:
    """A CSV or JSON Lines file that can be read at any time: rows are written whole, and at once.

    Where a value is missing, `csv` has nothing and `jsonl` null. InputError where the file cannot be written; rows before stay.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], form: Format) -> None:
        if form not in get_args(Format):
            raise InputError(f"format={form} is unknown; choose {' or '.join(get_args(Format))}")
        self.path, self.columns, self.form = path, columns, form
        with writing(path):
            self._file = path.open("wb", buffering=0)
        if form == "csv":
            self._append(_csv_text([columns]))

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add rows."""
        if self.form == "csv":
            self._append(_csv_text([[row[column] for column in self.columns] for row in rows]))
        else:
            self._append("".join(json.dumps({column: row[column] for column in self.columns}) + "\n" for row in rows))

    def _append(self, text: str) -> None:
        with writing(self.path):
            append_bytes(self._file, text.encode("utf-8", errors="backslashreplace"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


class Drawing:
    """Writes each picture and video again, with its poses, below a folder and under its own name.

    The folder is made with the first picture. `problems` says why some are not drawn, such as a video larger than the format
    allows; the others go on. InputError where a file cannot be written, as on a full disk; nothing of it is left then.
    """

    def __init__(self, folder: Path, kind: Draw) -> None:
        if kind not in get_args(Draw):
            raise InputError(f"draw={kind} is unknown; choose {', '.join(get_args(Draw))}")
        self.folder, self.kind = folder, kind
        self.problems: list[str] = []
        self._path = Path()  # of the video at hand
        self._video: cv2.VideoWriter | None = None
        self._shape, self._frames = (0, 0), 0

    def write(self, frame: Frame, faces: list[TrackedPose]) -> None:
        """Draw a frame, without the poses that are refused."""
        if self.kind == "none" or frame.image is None:
            return
        picture = draw_faces(frame.image, [face for face in faces if not face.is_refused], self.kind)
        path = self.folder / frame.source.name
        if frame.index is not None:
            self._write_frame(path.with_name(path.name.removesuffix(".mp4") + ".mp4"), picture, frame)
            return
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            content = encode_picture(path, picture)
        except InputError:  # a suffix that OpenCV cannot write, or a format that holds no picture so large or no colours
            path = path.with_name(path.name + ".png")
            content = encode_picture(path, picture)
        write_bytes(path, content)

    def _write_frame(self, path: Path, picture: Image, frame: Frame) -> None:
        if path != self._path:
            self.close()
            self._path, self._shape = path, (picture.shape[1], picture.shape[0])
            self._open(writable_rate(frame.fps or 25.0))
        if self._video is not None:
            if picture.shape[1::-1] != self._shape:
                picture = np.asarray(cv2.resize(picture, self._shape), np.uint8)
            self._video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            self._frames += 1

    def _open(self, rate: float) -> None:
        """Begin a video, or say why it is not drawn."""
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.write_bytes(b"")
        name = str(self._partial.absolute())
        if name == printable(name):  # at other names OpenCV ends the process
            self._video = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"mp4v"), rate, self._shape)
        if self._video is None or not self._video.isOpened():
            self._discard()
            width, height = self._shape
            self.problems.append(f"{self._path}: not drawn; MPEG-4 does not take {width}×{height} pixels at {rate:g} frames/s")

    @property
    def _partial(self) -> Path:
        """The video while it is being written; OpenCV knows the format by the suffix."""
        return self._path.with_name(f"{self._path.stem[:40]}.partial.mp4")

    def close(self) -> None:
        """Finish the video, and look whether all of it is there: OpenCV does not say when a disk is full."""
        if self._video is None:
            return
        self._video.release()
        video = cv2.VideoCapture(str(self._partial.absolute()), cv2.CAP_FFMPEG)
        found = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
        video.release()
        if found < self._frames:
            problem = f"{self._path}: only {found} of {self._frames} frames could be written; check the room left"
            self._discard()
            raise InputError(problem)
        with replacing(self._path) as whole:
            self._partial.replace(whole)
        self._video, self._frames = None, 0

    def _discard(self) -> None:
        """Leave nothing of the video."""
        if self._video is not None:
            self._video.release()
        self._video, self._frames = None, 0
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(InputError):  # what is wrong is on its way already
            if kind is KeyboardInterrupt:
                self.close()
        if self._video is not None:
            self._discard()


def writable_rate(fps: float) -> float:
    """The frames a second nearest to `fps` that OpenCV can write as MPEG-4.

    OpenCV writes the rate as a fraction over 1, 10, 100 or 1000, and MPEG-4 takes numerators up to 65535.

    >>> [writable_rate(fps) for fps in (25, 30000 / 1001, 66.667, 90000)]
    [25.0, 29.97, 66.67, 65535.0]
    """
    if not 0 < fps < math.inf:  # so written, NaN is refused
        return 25.0
    decimals = next((places for places in (3, 2, 1) if fps * 10**places <= 65535), 0)
    return min(max(round(float(fps), decimals), 0.01), 65535.0)


def draw_faces(image: Image, faces: list[TrackedPose], kind: Draw) -> Image:
    """A copy of an RGB picture (H, W, 3) with its faces' axes or cubes, boxes and identities."""
    picture = image.copy()
    for face in faces:
        x0, y0, x1, y1 = face.pose.box
        center, side = ((x0 + x1) / 2, (y0 + y1) / 2), max(x1 - x0, y1 - y0)
        thickness = max(1, round(side / 60))
        cv2.rectangle(picture, (round(x0), round(y0)), (round(x1), round(y1)), (255, 255, 255), max(1, thickness // 2))
        if kind == "axes":
            draw_axes(picture, face.pose.seen, center, 0.6 * side, thickness)
        else:
            draw_cube(picture, face.pose.seen, center, 0.9 * side, thickness)
        yaw, pitch, roll = face.pose.pose
        text = f"{'' if face.track is None else f'{face.track}: '}{yaw:+.0f} {pitch:+.0f} {roll:+.0f}"
        scale = max(0.35, side / 300)
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        x, y = round(x0), max(round(y0) - below - thickness, height + below)
        cv2.rectangle(picture, (x, y - height - below), (x + width, y + below), (0, 0, 0), -1)  # readable on any background
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def pose_row(frame: Frame, face: TrackedPose) -> dict[str, Any]:
    """A face as it stands in the table; pixels, seconds and degrees. Of a refused pose the angles are missing."""
    angles = (None, None, None) if face.is_refused else face.pose.pose
    numbers = zip(("x0", "y0", "x1", "y1", "yaw", "pitch", "roll"), (*face.pose.box, *angles), strict=True)
    spread = (*(face.pose.spread or (None, None, None)), face.pose.rotation_spread)
    return {
        "file": frame.source.name,
        "frame": frame.index,
        "time": None if frame.time is None else round(frame.time, 4),
        "score": None if face.pose.score is None else round(face.pose.score, 4),
        "track": face.track,
        **{key: None if value is None else round(value, 3) for key, value in (*numbers, *zip(SPREAD, spread, strict=True))},
        "state": None if face.state is None else face.state.name,
    }


def _csv_text(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
