"""Anybody's own pictures: a CSV file names them and their angles."""

import csv
from pathlib import Path
from typing import ClassVar

import numpy as np

from headpose.datasets.base import Annotation, FolderDataset, whole_box
from headpose.errors import InputError
from headpose.geometry.conventions import ANGLES

SIDES = ("x0", "y0", "x1", "y1")


class CSVTable(FolderDataset):
    """A CSV file with a header and a row for every face.

    Columns: `path` (relative to the file's folder, or absolute), `yaw`, `pitch`, `roll` (degrees, signs of 300W-LP); optional
    `x0`, `y0`, `x1`, `y1` (tight box in pixels of the upright picture; without them the pictures are crops already, to which
    the crop rule adds nothing) and `subject` (who it is: a split keeps people apart). A picture may stand in several rows,
    one for each of its faces.

    Args:
        root: the CSV file.
        max_angle, bad_files: see `FolderDataset`.

    Raises:
        InputError: no such file, a missing column, a row that is no label; see also `FolderDataset`.
    """

    title = "CSV file"
    layout: ClassVar[str] = "rows of path,yaw,pitch,roll"

    def check_root(self) -> None:
        """A file with the four columns."""
        self.table, self.root = self.root, self.root.parent
        try:
            with self.table.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                columns = [column.strip() for column in reader.fieldnames or ()]
                reader.fieldnames = columns
                rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{self.table}: cannot be read as a CSV file ({error}); set data.root or test.csv.root") from error
        missing = [column for column in ("path", *ANGLES) if column not in columns]
        if missing:
            raise InputError(
                f"{self.table}: no column {missing[0]}; needed are path,{','.join(ANGLES)}, optional {','.join(SIDES)},subject"
            )
        if 0 < len(set(SIDES) & set(columns)) < len(SIDES):
            raise InputError(
                f"{self.table}: a box needs all of the columns {','.join(SIDES)}; add the others or leave them out"
            )
        self._rows: dict[Path, tuple[int, dict[str, str]]] = {}
        for number, row in enumerate(rows, start=2):
            if not row["path"]:
                raise InputError(f"{self.table}, line {number}: no path; remove the row")
            first = self.root / row["path"]
            key, face = first, 2
            while key in self._rows:
                key, face = first.with_name(f"{first.name}#{face}"), face + 1
            self._rows[key] = (number, row)
        self.has_boxes = any(row.get(side) for row in rows for side in SIDES)

    def list_images(self) -> list[Path]:
        """The faces, in the order of the file."""
        return list(self._rows)

    def picture_of(self, path: Path) -> Path:
        """The row's own path."""
        return self.root / self._rows[path][1]["path"]

    def name_of(self, path: Path) -> str:
        """The row's own path, `#2` and so on behind it for further faces of a picture."""
        extra = path.name.removeprefix(self.picture_of(path).name)
        return Path(self._rows[path][1]["path"]).as_posix() + extra

    def common_files(self) -> list[Path]:
        """The table."""
        return [self.table]

    def read_annotation(self, path: Path) -> Annotation:
        """The row's numbers."""
        number, row = self._rows[path]
        where = f"{self.table}, line {number}"
        pose = np.array(_numbers(where, row, ANGLES))
        given = [side for side in SIDES if row.get(side)]
        if (len(given) == len(SIDES)) != self.has_boxes or 0 < len(given) < len(SIDES):
            raise InputError(f"{where}: give every row its box ({','.join(SIDES)}), or none of them one")
        if self.has_boxes:
            box = np.array(_numbers(where, row, SIDES), dtype=np.float32)
            if box[0] >= box[2] or box[1] >= box[3]:
                raise InputError(f"{where}: the box has no area; x0 < x1 and y0 < y1 in pixels are needed")
        else:
            box = whole_box(self.picture_of(path))
        return Annotation(pose, box, np.full((68, 2), np.nan))

    def photo_of(self, name: str) -> str:
        """The subject where there is one, else the picture."""
        path = self.root / name
        return self._rows[path][1].get("subject") or self.picture_of(path).as_posix()


def _numbers(where: str, row: dict[str, str], columns: tuple[str, ...]) -> list[float]:
    values = []
    for column in columns:
        try:
            values.append(float(row[column]))
        except ValueError as error:
            raise InputError(f"{where}: {column} is '{row[column]}', not a number; correct or remove the row") from error
        if not np.isfinite(values[-1]):
            raise InputError(f"{where}: {column} is {row[column]}; correct or remove the row")
    return values
