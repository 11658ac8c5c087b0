"""Synthetic heads in the layouts of AFLW, as published and as Hopenet reads it, and of AFW.

In both data sets a photograph may show several people: every third one written here shows two, side by side.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from headposekit.errors import InputError
from headposekit.files import cannot_write, write_text
from headposekit.geometry.crops import crop_with_black_border, square_box
from headposekit.synthesis.sampler import Head
from headposekit.synthesis.writers import SIZE, HeadsWriter

FIRST_AFLW, FIRST_AFW = 2 * 10**6, 3 * 10**6
"""Numbers of people; those of the other layouts are smaller, so nobody stands in two data sets."""
FOLDERS = ("0", "2", "3")
"""Of AFLW's pictures."""
CROP_MARGIN = 0.3
YAW_STEP = 15
TABLES = {
    "FaceImages": "image_id INTEGER PRIMARY KEY, file_id TEXT, filepath TEXT, width INTEGER, height INTEGER",
    "Faces": "face_id INTEGER PRIMARY KEY, file_id TEXT",
    "FacePose": "face_id INTEGER PRIMARY KEY, roll REAL, pitch REAL, yaw REAL",
    "FaceRect": "face_id INTEGER PRIMARY KEY, x INTEGER, y INTEGER, w INTEGER, h INTEGER",
}
"""The columns that matter, in the database's own names; a table of its points is left out."""
WAIT = 60.0
"""Seconds for the other processes that write into the database."""


@dataclass(eq=False)
class WriteAFLW(HeadsWriter):
    """AFLW: `sqlite`, photographs with a database of their faces; or `text`, Hopenet's crops with a line of text each."""

    unit = "photo"
    form: Literal["sqlite", "text"] = "sqlite"
    size: int = SIZE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in ("sqlite", "text"):
            raise InputError(f"form={self.form} is unknown; choose sqlite or text")

    def __getitem__(self, number: int) -> list[str]:
        first = 2 * number
        faces = {first + k + 1: self.render(FIRST_AFLW + first + k) for k in range(faces_of(number))}
        write = self._write_photo if self.form == "sqlite" else self._write_crops
        return write(f"{FOLDERS[number % len(FOLDERS)]}/image{number + 1:05d}", number + 1, faces)

    def _write_photo(self, stem: str, image_id: int, faces: dict[int, Head]) -> list[str]:
        picture = np.concatenate([head.image for head in faces.values()], axis=1)
        self.write_picture(f"flickr/{stem}", picture)
        height, width = picture.shape[:2]
        file_id = Path(stem).name
        rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in TABLES}
        rows["FaceImages"].append((image_id, file_id, f"{stem}.jpg", width, height))
        for k, (face_id, head) in enumerate(faces.items()):
            # Whole pixels, as in the real one.
            x0, y0, x1, y1 = (round(float(side)) for side in head.box + np.array([k * self.size, 0] * 2))
            yaw, pitch, roll = label_rad(head)
            rows["Faces"].append((face_id, file_id))
            rows["FacePose"].append((face_id, roll, pitch, yaw))
            rows["FaceRect"].append((face_id, x0, y0, x1 - x0, y1 - y0))
        try:
            self._add(rows)
        except sqlite3.Error as error:
            raise cannot_write(self.root / "aflw.sqlite", error) from error
        return [f"{stem}_{face_id}" for face_id in faces]

    def _add(self, rows: dict[str, list[tuple[object, ...]]]) -> None:
        with closing(sqlite3.connect(self.root / "aflw.sqlite", timeout=WAIT, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # all of a photo's rows or none, one process after the other
            for name, columns in TABLES.items():
                connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
                places = ", ".join("?" * (columns.count(",") + 1))
                connection.executemany(f"INSERT OR REPLACE INTO {name} VALUES ({places})", rows[name])
            connection.execute("COMMIT")

    def _write_crops(self, stem: str, image_id: int, faces: dict[int, Head]) -> list[str]:
        names = [f"{stem}_{face_id}" for face_id in faces]
        for name, head in zip(names, faces.values(), strict=True):
            self.write_picture(name, crop_with_black_border(head.image, square_box(head.box, CROP_MARGIN)))
            label = f"{Path(name).name} " + " ".join(f"{a:.6f}" for a in label_rad(head))
            write_text(self.root / f"{name}.txt", label + "\n")
        return names


class WriteAFW(HeadsWriter):
    """AFW as Hopenet reads it: photographs, and for each face a line of text; yaw in steps of 15 degrees."""

    unit = "photo"

    def __getitem__(self, number: int) -> list[str]:
        stem = f"{number + 1:06d}"
        pictures, lines = [], {}
        for k in range(faces_of(number)):
            person = FIRST_AFW + 2 * number + k
            rng = np.random.default_rng([self.heads.seed, person])
            yaw = float(YAW_STEP * rng.integers(-6, 7))
            pitch, roll = (float(angle) for angle in rng.uniform(-25, 25, size=2).round(2))
            head = self.render(person, (yaw, pitch, roll))
            pictures.append(head.image)
            name, box = f"{stem}_{k + 1}", " ".join(f"{side:.2f}" for side in head.box + np.array([k * SIZE, 0] * 2))
            lines[name] = f"{name} {0.0 - yaw:.0f} {pitch:.2f} {roll:.2f} {box}\n"
        self.write_picture(stem, np.concatenate(pictures, axis=1))
        for name, line in lines.items():
            write_text(self.root / f"{name}.txt", line)
        return list(lines)


def faces_of(number: int) -> int:
    """How many people photograph `number` shows."""
    return 2 if number % 3 == 2 else 1


def label_rad(head: Head) -> tuple[float, float, float]:
    """AFLW's yaw, pitch, roll of a head, radians: its roll has the other sign."""
    yaw, pitch, roll = (float(angle) for angle in np.radians(head.pose))
    return yaw, pitch, -roll
