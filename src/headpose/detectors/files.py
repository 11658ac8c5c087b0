"""Boxes that some other detector has found and written to a file."""

import csv
import io
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headpose.detectors.base import Detections, as_detections, no_detections
from headpose.errors import InputError
from headpose.pictures import open_regular
from headpose.types import Image

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
        rows = self._faces.get(name)
        if rows is None:
            rows = self._faces.get(str(Path(name).with_suffix("")) if Path(name).name else name)
        return no_detections() if rows is None else as_detections(rows[:, 1:], rows[:, 0])


def read_boxes(path: Path) -> dict[str, NDArray[np.float64]]:
    """A detector's file: CSV with the columns name, confidence, x0, y0, x1, y1, a row for every face found.

    Returns:
        name to (n, 5): confidence and box in pixels, in the order of the file.

    Raises:
        InputError: no such file, a column missing or there twice, or a row that is no box or has more cells than columns.
    """
    columns = ",".join(COLUMNS)
    if not path.exists():
        raise InputError(f"{path}: no such box file; run a face detector and write {columns} to it")
    found: dict[str, list[list[Any]]] = {}
    try:
        with open_regular(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            if missing := set(COLUMNS) - set(names):
                raise InputError(f"{path}: no column {sorted(missing)[0]}; a box file has {columns}")
            if twice := [name for name in COLUMNS if names.count(name) > 1]:
                raise InputError(f"{path}: two columns are called {twice[0]}; a box file has {columns}")
            for row in reader:
                found.setdefault(row["name"], []).append(_confidence_and_box(f"{path}, line {reader.line_num}", row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file; a box file has {columns}") from error
    return {name: np.array(faces) for name, faces in found.items()}


def _confidence_and_box(where: str, row: dict[Any, Any]) -> list[float]:
    if None in row:  # a comma for a decimal point, or in a name without quotes, moves all cells behind it
        raise InputError(f"{where}: more cells than columns; quote a name that holds a comma, and write decimal points")
    try:
        values = [float(row[column]) for column in COLUMNS[1:]]
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: not all of {','.join(COLUMNS[1:])} are numbers") from error
    if not np.isfinite(values).all() or values[1] >= values[3] or values[2] >= values[4]:
        raise InputError(f"{where}: the box has no area; x0 < x1 and y0 < y1 in pixels are needed")
    return values
