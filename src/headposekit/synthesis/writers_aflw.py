"""Synthetic heads in the layouts of AFLW, as published and as Hopenet reads it, and of AFW.

In both data sets a photograph may show several people: every third one written here shows two, side by side.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from headposekit.errors import InputError
from headposekit.files import cannot_write, write_text
from headposekit.geometry.crops import crop_with_black_border, square_box
from headposekit.synthesis.sampler import Head, HeadSampler
from headposekit.synthesis.writers import SIZE, LayoutWriter, checked_size

FIRST_AFLW, FIRST_AFW = 2 * 10**6, 3 * 10**6
"""Numbers of people; those of the other layouts are smaller, so nobody stands in two data sets."""
FOLDERS = ("0", "2", "3")
"""Of AFLW's pictures."""
CROP_MARGIN = 0.3
YAW_STEP = 15
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS FaceImages "
    "(image_id INTEGER PRIMARY KEY, file_id TEXT, filepath TEXT, width INTEGER, height INTEGER)",
    "CREATE TABLE IF NOT EXISTS Faces (face_id INTEGER PRIMARY KEY, file_id TEXT)",
    "CREATE TABLE IF NOT EXISTS FacePose (face_id INTEGER PRIMARY KEY, roll REAL, pitch REAL, yaw REAL)",
    "CREATE TABLE IF NOT EXISTS FaceRect (face_id INTEGER PRIMARY KEY, x INTEGER, y INTEGER, w INTEGER, h INTEGER)",
)
"""The columns that matter, in the database's own names; a table of its points is left out."""
WAIT = 60.0
"""Seconds for the other processes that write into the database."""


class WriteAFLW(LayoutWriter):
    """AFLW: photographs with a database of their faces, or each face cut out with a line of text beside it.

    Args:
        root, heads, num_units: see `LayoutWriter`.
        form: `sqlite`, `<root>/aflw.sqlite` with `flickr/`; `text`, Hopenet's crops and labels.
        size: side of each head's picture; its box takes two fifths.
    """

    unit = "photo"

    def __init__(
        self,
        root: str | Path,
        heads: HeadSampler,
        num_units: int,
        form: Literal["sqlite", "text"] = "sqlite",
        size: int = SIZE,
    ) -> None:
        super().__init__(root, heads, num_units)
        forms = {"sqlite": self._write_photo, "text": self._write_crops}
        if form not in forms:
            raise InputError(f"form={form} is unknown; choose {' or '.join(forms)}")
        self._write, self.size = forms[form], checked_size(size)

    def __getitem__(self, number: int) -> list[str]:
        people = [FIRST_AFLW + 2 * number + k for k in range(faces_of(number))]
        heads = [self.heads.render(person * self.heads.poses_per_identity, self.size) for person in people]
        faces = {person - FIRST_AFLW + 1: head for person, head in zip(people, heads, strict=True)}
        return self._write(f"{FOLDERS[number % len(FOLDERS)]}/image{number + 1:05d}", number + 1, faces)

    def _write_photo(self, stem: str, image_id: int, faces: dict[int, Head]) -> list[str]:
        picture = np.concatenate([head.image for head in faces.values()], axis=1)
        self.write_picture(f"flickr/{stem}", picture)
        height, width = picture.shape[:2]
        try:
            self._add_rows(stem, (image_id, Path(stem).name, f"{stem}.jpg", width, height), faces)
        except sqlite3.Error as error:
            raise cannot_write(self.root / "aflw.sqlite", error) from error
        return [f"{stem}_{face_id}" for face_id in faces]

    def _add_rows(self, stem: str, image: tuple[int, str, str, int, int], faces: dict[int, Head]) -> None:
        with closing(sqlite3.connect(self.root / "aflw.sqlite", timeout=WAIT, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # all of a photo's rows or none, one process after the other
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO FaceImages VALUES (?, ?, ?, ?, ?)", image)
            for k, (face_id, head) in enumerate(faces.items()):
                # Whole pixels, as in the real one.
                x0, y0, x1, y1 = (round(float(side)) for side in head.box + np.array([k * self.size, 0] * 2))
                yaw, pitch, roll = label_rad(head)
                connection.execute("INSERT OR REPLACE INTO Faces VALUES (?, ?)", (face_id, Path(stem).name))
                connection.execute("INSERT OR REPLACE INTO FacePose VALUES (?, ?, ?, ?)", (face_id, roll, pitch, yaw))
                rectangle = (face_id, x0, y0, x1 - x0, y1 - y0)
                connection.execute("INSERT OR REPLACE INTO FaceRect VALUES (?, ?, ?, ?, ?)", rectangle)
            connection.execute("COMMIT")

    def _write_crops(self, stem: str, image_id: int, faces: dict[int, Head]) -> list[str]:
        names = [f"{stem}_{face_id}" for face_id in faces]
        for name, head in zip(names, faces.values(), strict=True):
            self.write_picture(name, crop_with_black_border(head.image, square_box(head.box, CROP_MARGIN)))
            label = f"{Path(name).name} " + " ".join(f"{a:.6f}" for a in label_rad(head))
            write_text(self.root / f"{name}.txt", label + "\n")
        return names


class WriteAFW(LayoutWriter):
    """AFW as Hopenet reads it: photographs, and for each face a line of text; yaw in steps of 15 degrees.

    Args:
        root, heads, num_units: see `LayoutWriter`.
    """

    unit = "photo"

    def __getitem__(self, number: int) -> list[str]:
        stem = f"{number + 1:06d}"
        heads = []
        for k in range(faces_of(number)):
            person = FIRST_AFW + 2 * number + k
            rng = np.random.default_rng([self.heads.seed, person])
            yaw = float(YAW_STEP * rng.integers(-6, 7))
            pitch, roll = (float(angle) for angle in rng.uniform(-25, 25, size=2).round(2))
            heads.append(self.heads.render(person * self.heads.poses_per_identity, SIZE, (yaw, pitch, roll)))
        self.write_picture(stem, np.concatenate([head.image for head in heads], axis=1))
        names = [f"{stem}_{k + 1}" for k in range(len(heads))]
        for k, (name, head) in enumerate(zip(names, heads, strict=True)):
            yaw, pitch, roll = head.pose
            box = head.box + np.array([k * SIZE, 0] * 2)
            label = f"{name} {0.0 - yaw:.0f} {pitch:.2f} {roll:.2f} " + " ".join(f"{side:.2f}" for side in box)
            write_text(self.root / f"{name}.txt", label + "\n")
        return names


def faces_of(number: int) -> int:
    """How many people photograph `number` shows."""
    return 2 if number % 3 == 2 else 1


def label_rad(head: Head) -> tuple[float, float, float]:
    """AFLW's yaw, pitch, roll of a head, radians: its roll has the other sign."""
    yaw, pitch, roll = (float(angle) for angle in np.radians(head.pose))
    return yaw, pitch, -roll
