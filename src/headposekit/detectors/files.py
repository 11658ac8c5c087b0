"""Boxes that some other detector has found and written to a file."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headposekit.csv_file import number_in, read_rows
from headposekit.detectors.base import Detections, as_detections
from headposekit.errors import InputError
from headposekit.types import Image

COLUMNS = ("name", "confidence", "x0", "y0", "x1", "y1")


class FileBoxes:
    """Looks boxes up by the name of the picture.

    Args:
        path: CSV with the columns name, confidence, x0, y0, x1, y1: tight boxes in pixels, a row for every face. A picture
            may be named with or without its suffix; one that has no row has no face.

    Raises:
        InputError: no such file, a missing column, or a row that is no box (at the first call).
    """

    name = "file"
    boxes_are_crops = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @cached_property
    def _faces(self) -> dict[str, NDArray[np.float64]]:
        return read_boxes(self.path)

    def __call__(self, image: Image, name: str = "") -> Detections:
        """The rows of a name."""
        without_suffix = str(Path(name).with_suffix("")) if Path(name).name else name
        rows = next((self._faces[key] for key in (name, without_suffix) if key in self._faces), np.empty((0, 5)))
        return as_detections(rows[:, 1:], rows[:, 0])


def read_boxes(path: Path) -> dict[str, NDArray[np.float64]]:
    """A detector's file, see `FileBoxes`: name to (n, 5), confidence and box in pixels, in the order of the file."""
    found: dict[str, list[list[float]]] = {}
    for row in read_rows(path, COLUMNS, f"run a face detector and write {','.join(COLUMNS)} to it"):
        where = f"{path}, line {row.line}"
        values = [number_in(where, row, column) for column in COLUMNS[1:]]
        if values[1] >= values[3] or values[2] >= values[4]:
            raise InputError(f"{where}: the box has no area; x0 < x1 and y0 < y1 in pixels are needed")
        found.setdefault(row.cells["name"], []).append(values)
    return {name: np.array(faces) for name, faces in found.items()}
