"""Synthetic heads as what `predict.py` is for, with the truth beside it: videos of turning heads, and a folder of pictures."""

import contextlib
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.files import append_text, cannot_write, replacing, writing
from headposekit.synthesis.writers import HeadsWriter, write_csv

FIRST_INDEX = 2 * 10**6
"""Of heads: other people than those of any training set or other layout."""
EXACT = {"perspective": None, "box_jitter": 0.0, "visible21": 0.0}
"""Options of heads whose boxes are those of the 68 landmarks."""
SWAY = ((40.0, 4.7), (18.0, 3.9), (14.0, 5.3))
"""Amplitude in degrees and period in seconds of yaw, pitch and roll."""
VIDEO_COLUMNS = ["frame", "time", "person", "x0", "y0", "x1", "y1", "yaw", "pitch", "roll"]
PICTURE_COLUMNS = ["path", "yaw", "pitch", "roll", "x0", "y0", "x1", "y1", "subject"]
ROOM = 1.2
"""A frame is a window of a picture so many times as large, and wanders over it."""


@dataclass(eq=False)
class WriteVideo(HeadsWriter):
    """`video_NN.mp4`, each of people side by side who turn smoothly, and their poses and boxes in `video_NN.csv`.

    Its columns are frame, time (seconds), person (from the left), x0, y0, x1, y1 (tight box in pixels), yaw, pitch,
    roll (degrees).
    """

    unit = "video"
    heads_options = EXACT
    num_units: int = 1
    num_people: int = 2
    num_frames: int = 250
    fps: float = 25.0
    size: int = 320

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_people < 1 or self.num_frames < 1 or not self.fps > 0:
            raise InputError(
                f"num_people={self.num_people} num_frames={self.num_frames} fps={self.fps}: "
                "give 1 or more people and frames, and more than 0 frames a second"
            )

    def __getitem__(self, number: int) -> list[str]:
        self.root.mkdir(parents=True, exist_ok=True)
        path, table = self.root / f"video_{number:02d}.mp4", self.root / f"video_{number:02d}.csv"
        rows = []
        with replacing(table) as partial_table, replacing(path) as partial:  # both take their places, or neither
            with self._open(path, partial) as video:
                for frame in range(self.num_frames):
                    time, parts = frame / self.fps, []
                    for place in range(self.num_people):
                        part, pose, box = self._frame(number * self.num_people + place, time)
                        parts.append(part)
                        place_box = box + [place * self.size, 0, place * self.size, 0]
                        rows.append([frame, f"{time:.3f}", place, *numbers(place_box), *numbers(pose)])
                    video.write(cv2.cvtColor(np.concatenate(parts, axis=1), cv2.COLOR_RGB2BGR))
            with writing(table), partial_table.open("w", newline="") as file:
                csv.writer(file).writerows([VIDEO_COLUMNS, *rows])
        return [f"{path.name}/{frame}" for frame in range(self.num_frames)]

    def _frame(self, person: int, time: float) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]:
        """Picture, pose and box of one person."""
        phases = np.random.default_rng([self.heads.seed, person]).uniform(0, 2 * np.pi, 5)
        pose = [
            amplitude * np.sin(2 * np.pi * time / period + phase)
            for (amplitude, period), phase in zip(SWAY, phases[:3], strict=True)
        ]
        index = FIRST_INDEX + person * self.heads.poses_per_identity
        head = self.heads.render(index, round(ROOM * self.size), pose)
        room = round(ROOM * self.size) - self.size
        x, y = (round(room * (0.5 + 0.5 * np.sin(2 * np.pi * time / 7 + phase))) for phase in phases[3:])
        return head.image[y : y + self.size, x : x + self.size], head.pose, head.box - [x, y, x, y]

    @contextlib.contextmanager
    def _open(self, path: Path, partial: Path) -> Iterator[Any]:
        """OpenCV's writer into `partial`; InputError naming `path` where not all frames are in it: OpenCV does not say so."""
        named = partial.with_name(f"{partial.name}{path.suffix}")  # OpenCV goes by the suffix
        shape = (self.num_people * self.size, self.size)
        video = cv2.VideoWriter(str(named), cv2.VideoWriter.fourcc(*"mp4v"), self.fps, shape)
        try:
            yield video
            video.release()
            written, count = cv2.VideoCapture(str(named)), 0
            while written.grab():
                count += 1
            written.release()
            if count != self.num_frames:
                raise cannot_write(path)
            named.replace(partial)
        finally:
            video.release()
            named.unlink(missing_ok=True)


@dataclass(eq=False)
class WritePictures(HeadsWriter):
    """`NNNNN.jpg`, one face each, with poses and boxes in `truth.csv`, which is also a set for `data=csv` and `test=csv`."""

    unit = "picture"
    heads_options = EXACT
    num_units: int = 200
    size: int = 320

    def __getitem__(self, number: int) -> list[str]:
        head = self.heads.render(FIRST_INDEX + number * self.heads.poses_per_identity, self.size)
        name = f"{number:05d}"
        self.write_picture(name, head.image)
        row = [f"{name}.jpg", *numbers(head.pose), *numbers(head.box), str(head.identity)]
        append_text(self.root / "truth.csv", ",".join(row) + "\n")  # other processes add theirs
        return [name]

    def finish(self) -> None:
        """Order the lines of the truth below a header, each picture's last one."""
        path = self.root / "truth.csv"
        with path.open(newline="") as file:
            rows = {row[0]: row for row in csv.reader(file) if row != PICTURE_COLUMNS}
        write_csv(path, [PICTURE_COLUMNS, *(rows[name] for name in sorted(rows))])


def numbers(values: Any) -> list[str]:
    """Numbers as they stand in a file."""
    return [f"{value:.3f}" for value in values]
