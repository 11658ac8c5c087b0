"""Synthetic heads as what `predict.py` is for, with the truth beside it: videos of turning heads, and a folder of pictures."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.files import append_text, cannot_write, replacing, writing
from headposekit.synthesis.sampler import Head, HeadSampler
from headposekit.synthesis.writers import LayoutWriter, checked_size
from headposekit.types import Image

FIRST_INDEX = 2 * 10**6
"""Of heads: other people than those of any training set or other layout."""
SWAY = ((40.0, 4.7), (18.0, 3.9), (14.0, 5.3))
"""Amplitude in degrees and period in seconds of yaw, pitch and roll."""
VIDEO_COLUMNS = ["frame", "time", "person", "x0", "y0", "x1", "y1", "yaw", "pitch", "roll"]
PICTURE_COLUMNS = ["path", "yaw", "pitch", "roll", "x0", "y0", "x1", "y1", "subject"]
ROOM = 1.2
"""A frame is a window of a picture so many times as large, and wanders over it."""


class WriteVideo(LayoutWriter):
    """`video_NN.mp4`, each of people side by side who turn smoothly, and their poses and boxes in `video_NN.csv`.

    Its columns are frame, time (seconds), person (from the left), x0, y0, x1, y1 (tight box in pixels), yaw, pitch,
    roll (degrees).

    Args:
        root, heads, num_units: see `LayoutWriter`; boxes are those of the 68 landmarks, without jitter.
        num_people: in each video.
        num_frames: of each video.
        fps: frames a second.
        size: height of a frame in pixels, and width of each person's part of it.
    """

    unit = "video"

    def __init__(
        self,
        root: str | Path,
        heads: HeadSampler,
        num_units: int = 1,
        num_people: int = 2,
        num_frames: int = 250,
        fps: float = 25.0,
        size: int = 320,
    ) -> None:
        super().__init__(root, heads, num_units)
        if num_people < 1 or num_frames < 1 or not fps > 0:
            raise InputError(
                f"num_people={num_people} num_frames={num_frames} fps={fps}: give 1 or more people and frames, "
                "and more than 0 frames a second"
            )
        self.heads = exact(self.heads)
        self.num_people, self.num_frames, self.fps, self.size = num_people, num_frames, fps, checked_size(size)

    def __getitem__(self, number: int) -> list[str]:
        self.root.mkdir(parents=True, exist_ok=True)
        path, table = self.root / f"video_{number:02d}.mp4", self.root / f"video_{number:02d}.csv"
        shape = (self.num_people * self.size, self.size)
        people = [number * self.num_people + person for person in range(self.num_people)]
        rows: list[list[Any]] = []
        frames = self._frames(people, rows)
        with replacing(table) as partial_table, replacing(path) as partial:  # both take their places, or neither
            _write_video(path, partial, frames, self.fps, shape)
            with writing(table), partial_table.open("w", newline="") as file:
                csv.writer(file).writerows([VIDEO_COLUMNS, *rows])
        return [f"{path.name}/{frame}" for frame in range(self.num_frames)]

    def _frames(self, people: list[int], rows: list[list[Any]]) -> Iterator[Image]:
        """Pictures of all people side by side; what stands in the table of each is added to `rows`."""
        for frame in range(self.num_frames):
            time, parts = frame / self.fps, []
            for place, person in enumerate(people):
                part, pose, box = self._frame(person, time)
                parts.append(part)
                place_box = box + [place * self.size, 0, place * self.size, 0]
                rows.append([frame, f"{time:.3f}", place, *numbers(place_box), *numbers(pose)])
            yield np.concatenate(parts, axis=1)

    def _frame(self, person: int, time: float) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]:
        """Picture, pose and box of one person."""
        phases = np.random.default_rng([self.heads.seed, person]).uniform(0, 2 * np.pi, 5)
        pose = [
            amplitude * np.sin(2 * np.pi * time / period + phase)
            for (amplitude, period), phase in zip(SWAY, phases[:3], strict=True)
        ]
        index = FIRST_INDEX + person * self.heads.poses_per_identity
        head = self.heads.render(index, round(ROOM * self.size), (pose[0], pose[1], pose[2]))
        room = round(ROOM * self.size) - self.size
        x, y = (round(room * (0.5 + 0.5 * np.sin(2 * np.pi * time / 7 + phase))) for phase in phases[3:])
        return head.image[y : y + self.size, x : x + self.size], head.pose, head.box - [x, y, x, y]


class WritePictures(LayoutWriter):
    """`NNNNN.jpg`, one face each, with poses and boxes in `truth.csv`, which is also a set for `data=csv` and `test=csv`.

    Args:
        root, heads, num_units: see `LayoutWriter`; boxes are those of the 68 landmarks, without jitter.
        size: side of a picture in pixels.
    """

    unit = "picture"

    def __init__(self, root: str | Path, heads: HeadSampler, num_units: int = 200, size: int = 320) -> None:
        super().__init__(root, heads, num_units)
        self.heads, self.size = exact(self.heads), checked_size(size)

    def __getitem__(self, number: int) -> list[str]:
        head: Head = self.heads.render(FIRST_INDEX + number * self.heads.poses_per_identity, self.size)
        name = f"{number:05d}"
        self.write_picture(name, head.image)
        row = [f"{name}.jpg", *numbers(head.pose), *numbers(head.box), head.identity]
        line = io.StringIO()
        csv.writer(line).writerow(row)
        append_text(self.root / "truth.csv", line.getvalue())  # other processes add theirs
        return [name]

    def finish(self) -> None:
        """Order the lines of the truth below a header, each picture's last one."""
        path = self.root / "truth.csv"
        with path.open(newline="") as file:
            rows = {row[0]: row for row in csv.reader(file) if row != PICTURE_COLUMNS}
        with replacing(path) as partial, partial.open("w", newline="") as file:
            csv.writer(file).writerows([PICTURE_COLUMNS, *(rows[name] for name in sorted(rows))])


def _write_video(path: Path, partial: Path, frames: Iterator[Image], fps: float, shape: tuple[int, int]) -> None:
    """Write a video's frames into `partial`; InputError naming `path` where not all are in it: OpenCV does not say so."""
    named = partial.with_name(f"{partial.name}{path.suffix}")  # OpenCV goes by the suffix
    video, count = cv2.VideoWriter(str(named), cv2.VideoWriter.fourcc(*"mp4v"), fps, shape), 0
    try:
        for frame in frames:
            video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1
        video.release()
        if count_frames(named) != count:
            raise cannot_write(path)
        named.replace(partial)
    finally:
        video.release()
        named.unlink(missing_ok=True)


def count_frames(path: Path) -> int:
    """Number of frames of a video that can be decoded; 0 of what is none."""
    video, count = cv2.VideoCapture(str(path)), 0
    while video.grab():
        count += 1
    video.release()
    return count


def exact(heads: HeadSampler) -> HeadSampler:
    """The same heads with the box of their landmarks."""
    return HeadSampler(**{**heads.options, "box_jitter": 0.0, "visible21": 0.0})


def numbers(values: Any) -> list[str]:
    """Numbers as they stand in a file."""
    return [f"{value:.3f}" for value in values]
