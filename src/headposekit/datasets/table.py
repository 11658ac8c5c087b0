"""Anybody's own pictures: a CSV file names them and their angles."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.csv_file import Row, number_in, read_rows, shown
from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, FolderDataset, check_box_in_file, whole_box
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLES
from headposekit.geometry.perspective import Frame, camera_to_ray, focal_length

MAX_PATH = 700
"""Letters of a path; a message repeats it."""
SIDES = ("x0", "y0", "x1", "y1")


@dataclass(eq=False)
class CSVTable(FolderDataset):
    """A CSV file with a header and a row for every face; see `headposekit.csv_file` for what a CSV file may look like.

    Columns: `path` (relative to the file's folder, or absolute; Windows' backslashes are fine), `yaw`, `pitch`, `roll`
    (degrees, signs of 300W-LP); optional `x0`, `y0`, `x1`, `y1` (tight box in pixels of the upright picture; without them the
    pictures are crops already, to which the crop rule adds nothing) and `subject` (who it is: a split keeps people apart). A
    picture may stand in several rows, one for each of its faces.

    Args:
        root: the CSV file.
        frame: `camera`, the angles as they are; or `ray`, as the head looks along the line from the camera to it.
        field_of_view: of the camera, in degrees across the picture's width; needed for `frame: ray`.
    """

    neutral: ClassVar[dict[str, Any]] = {"frame": "camera", "field_of_view": None}

    frame: Frame = "camera"
    field_of_view: float | None = None

    title, layout = "CSV file", "rows of path,yaw,pitch,roll"

    def check_root(self) -> None:
        """A file with the four columns."""
        self.table, self.root, self.common_files = self.root, self.root.parent, [self.root]
        needed = f"needed are path,{','.join(ANGLES)}, optional {','.join(SIDES)},subject; set data.root or test.csv.root"
        rows = read_rows(self.table, ("path", *ANGLES), needed)
        num_sides = len(set(SIDES) & set(rows[0].cells)) if rows else 0
        if 0 < num_sides < len(SIDES):
            raise InputError(
                f"{self.table}: a box needs all of the columns {','.join(SIDES)}; add the others or leave them out"
            )
        self._rows: dict[Path, Row] = {}
        self._pictures: dict[Path, str] = {}
        num_faces: dict[Path, int] = {}
        for row in rows:
            picture = self._picture(row)
            key = first = self.root / picture
            number = num_faces.get(first, 1)
            while key in self._rows:
                number += 1
                key = Path(f"{first}#{number}")
            num_faces[first] = number
            self._rows[key], self._pictures[key] = row, picture
        self.has_boxes = any(row.cells.get(side) for row in rows for side in SIDES)
        if self.frame not in get_args(Frame):
            raise InputError(f"frame={self.frame} is unknown; choose {' or '.join(get_args(Frame))}")
        if self.field_of_view is not None:
            focal_length(self.field_of_view, 1)  # refuses what is no field of view
        if self.frame == "ray" and (self.field_of_view is None or not self.has_boxes):
            raise InputError(f"{self.table}: frame=ray needs boxes in the file, and field_of_view= of the camera")

    def _picture(self, row: Row) -> str:
        """The path of a row as this system writes it."""
        path, where = row.cells["path"], f"{self.table}, line {row.line}"
        if not path:
            raise InputError(f"{where}: no path; remove the row")
        if len(path) > MAX_PATH:
            raise InputError(f"{where}: the path {shown(path)} has {len(path):,} letters; correct or remove the row")
        if not Path(path).name:
            raise InputError(f"{where}: the path {shown(path)} names no file; correct or remove the row")
        if len(path.splitlines()) > 1 or "\0" in path:
            raise InputError(f"{where}: the path {shown(path)} holds a line break; a quote may be open: close it")
        if "\\" in path and not os.path.exists(self.root / path):
            return path.replace("\\", "/")
        return path

    def list_images(self) -> list[Path]:
        """The faces, in the order of the file."""
        return list(self._rows)

    def picture_of(self, path: Path) -> Path:
        """The row's own path."""
        return self.root / self._pictures[path]

    def name_of(self, path: Path) -> str:
        """The row's own path, `#2` and so on behind it for further faces of a picture."""
        extra = str(path).removeprefix(str(self.picture_of(path)))
        return Path(self._pictures[path]).as_posix() + extra

    def cells_of(self, path: Path) -> dict[str, str]:
        """The row's cells by column."""
        return self._rows[path].cells

    def angles_in_file(self, path: Path) -> NDArray[np.float64]:
        """The row's yaw, pitch and roll (3,) as they stand there; InputError where one is no number."""
        row = self._rows[path]
        return np.array([number_in(f"{self.table}, line {row.line}", row, angle) for angle in ANGLES])

    def read_annotation(self, path: Path) -> Annotation:
        """The row's numbers."""
        row, pose = self._rows[path], self.angles_in_file(path)
        where = f"{self.table}, line {row.line}"
        given = [side for side in SIDES if row.cells.get(side)]
        if (len(given) == len(SIDES)) != self.has_boxes or 0 < len(given) < len(SIDES):
            raise InputError(f"{where}: give every row its box ({','.join(SIDES)}), or none of them one")
        if self.has_boxes:
            box = np.array([number_in(where, row, side) for side in SIDES])
            size = check_box_in_file(where, box, self.picture_of(path))
            if self.frame == "ray":
                pose = self._along_ray(pose, box, size)
            return Annotation(pose, box.astype(np.float32), picture_size=size)
        return Annotation(pose, whole_box(self.picture_of(path)))

    def _along_ray(self, pose: NDArray[np.float64], box: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """A pose in the camera's frame as the crop shows it; the ray goes through the middle of the box."""
        assert self.field_of_view is not None
        height, width = size
        center = torch.from_numpy(box[:2] + box[2:]) / 2
        return camera_to_ray(torch.from_numpy(pose), center, (width, height), focal_length(self.field_of_view, width)).numpy()

    def photo_of(self, name: str) -> str:
        """The subject where there is one, else the picture."""
        path = self.root / name
        return self._rows[path].cells.get("subject") or self.picture_of(path).as_posix()


class CSVDataModule(FolderDataModule):
    """Loaders of a CSV file's faces; `root` is the file."""

    dataset_name: ClassVar[str] = "csv"
    reader = CSVTable
