"""What is left of a prediction: rows, written as they come, and drawn pictures and videos."""

import csv
import io
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import cv2
import numpy as np

from headpose.errors import InputError
from headpose.inference.sources import Frame
from headpose.inference.stream import TrackedPose
from headpose.reporting.drawing import draw_axes, draw_cube
from headpose.types import Image

Format = Literal["csv", "jsonl"]
Draw = Literal["none", "axes", "cube"]
COLUMNS = ("file", "frame", "time", "x0", "y0", "x1", "y1", "score", "track", "yaw", "pitch", "roll")
SPREAD = ("spread_yaw", "spread_pitch", "spread_roll")


class TableWriter:
    """A CSV or JSON Lines file that can be read at any time: rows are written whole, and at once.

    Args:
        path: the file, written anew.
        columns: of a row.
        form: `csv`, where nothing is empty; `jsonl`, where it is null.

    Raises:
        InputError: the file cannot be written; rows that were stay.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], form: Format) -> None:
        if form not in get_args(Format):
            raise InputError(f"format={form} is unknown; choose {' or '.join(get_args(Format))}")
        self.path, self.columns, self.form = path, columns, form
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise _unwritable(path, error) from error
        self._end = 0
        if form == "csv":
            self._append(_csv_line(columns))

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add rows."""
        if self.form == "csv":
            self._append("".join(_csv_line([_cell(row[column]) for column in self.columns]) for row in rows))
        else:
            self._append("".join(json.dumps({column: row[column] for column in self.columns}) + "\n" for row in rows))

    def _append(self, text: str) -> None:
        content = memoryview(text.encode())
        try:
            while content:
                content = content[self._file.write(content) or 0 :]
        except OSError as error:
            os.ftruncate(self._file.fileno(), self._end)  # half a row helps nobody
            raise _unwritable(self.path, error) from error
        self._end = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


class Drawing:
    """Writes each picture and video again, with its poses, below a folder and under its own name.

    Args:
        folder: where to; nothing is made before something is drawn.
        kind: `axes`, `cube`, or `none` for nothing.

    Raises:
        InputError: an unknown kind; a file that cannot be written.
    """

    def __init__(self, folder: Path, kind: Draw) -> None:
        if kind not in get_args(Draw):
            raise InputError(f"draw={kind} is unknown; choose {', '.join(get_args(Draw))}")
        self.folder, self.kind = folder, kind
        self._video: cv2.VideoWriter | None = None
        self._path, self._shape, self._frames = Path(), (0, 0), 0

    def write(self, frame: Frame, faces: list[TrackedPose]) -> None:
        """Draw a frame."""
        if self.kind == "none" or frame.image is None:
            return
        picture = draw_faces(frame.image, faces, self.kind)
        path = self.folder / frame.source.name
        if frame.index is not None:
            self._write_frame(path.with_name(path.name.removesuffix(".mp4") + ".mp4"), picture, frame)
            return
        suffix = path.suffix if path.suffix and cv2.haveImageWriter(path.name) else ".png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
            (path if suffix == path.suffix else path.with_name(path.name + suffix)).write_bytes(content.tobytes())
        except OSError as error:
            raise _unwritable(path, error) from error

    def _write_frame(self, path: Path, picture: Image, frame: Frame) -> None:
        if path != self._path or self._video is None:
            self.close()
            self._path, self._shape = path, (picture.shape[1], picture.shape[0])
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _unwritable(path, error) from error
            self._video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), frame.fps or 25.0, self._shape)
            if not self._video.isOpened():
                raise InputError(f"{path}: cannot be written; check the folder's permissions and the room left")
        picture = picture if picture.shape[1::-1] == self._shape else np.asarray(cv2.resize(picture, self._shape), np.uint8)
        self._video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Finish the video, and look whether all of it is there: OpenCV does not say when a disk is full."""
        if self._video is None:
            return
        self._video.release()
        written, self._video, self._frames = self._frames, None, 0
        video = cv2.VideoCapture(str(self._path))
        found = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        video.release()
        if found < written:
            raise InputError(f"{self._path}: holds {max(found, 0)} of {written} frames; check the room left")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        elif self._video is not None:  # what is wrong is on its way already
            self._video.release()


def draw_faces(image: Image, faces: list[TrackedPose], kind: Draw) -> Image:
    """A copy of an RGB picture (H, W, 3) with its faces' axes or cubes, boxes and identities."""
    picture = image.copy()
    for face in faces:
        x0, y0, x1, y1 = face.pose.box
        center, side = ((x0 + x1) / 2, (y0 + y1) / 2), max(x1 - x0, y1 - y0)
        thickness = max(1, round(side / 60))
        cv2.rectangle(picture, (round(x0), round(y0)), (round(x1), round(y1)), (255, 255, 255), max(1, thickness // 2))
        if kind == "axes":
            draw_axes(picture, face.pose.pose, center, 0.6 * side, thickness)
        else:
            draw_cube(picture, face.pose.pose, center, 0.9 * side, thickness)
        yaw, pitch, roll = face.pose.pose
        text = f"{'' if face.track is None else f'{face.track}: '}{yaw:+.0f} {pitch:+.0f} {roll:+.0f}"
        scale = max(0.35, side / 300)
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        x, y = round(x0), max(round(y0) - below - thickness, height + below)
        cv2.rectangle(picture, (x, y - height - below), (x + width, y + below), (0, 0, 0), -1)  # readable on any background
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def pose_row(frame: Frame, face: TrackedPose) -> dict[str, Any]:
    """A face as it stands in the table; pixels, seconds and degrees."""
    numbers = zip(("x0", "y0", "x1", "y1", "yaw", "pitch", "roll"), (*face.pose.box, *face.pose.pose), strict=True)
    spread = face.pose.spread or (None, None, None)
    return {
        "file": frame.source.name,
        "frame": frame.index,
        "time": None if frame.time is None else round(frame.time, 4),
        "score": None if face.pose.score is None else round(face.pose.score, 4),
        "track": face.track,
        **{key: round(value, 3) for key, value in numbers},
        **{key: None if value is None else round(value, 3) for key, value in zip(SPREAD, spread, strict=True)},
    }


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: {error.strerror}; check the path, its permissions and the room left")
