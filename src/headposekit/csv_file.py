"""CSV files that people and programs write by hand: read strictly, refused by the line that an editor shows."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from headposekit.errors import InputError
from headposekit.safe_files import read_file

SEPARATORS = ",;\t"
MAX_TABLE = 2**28
"""Bytes of a file."""
MAX_SHOWN = 40
"""Characters of a cell that a message repeats."""


class Row(NamedTuple):
    """A row of a CSV file."""

    line: int
    """Where it begins, counted from 1, blank lines included."""
    cells: dict[str, str]
    """Column, in small letters, to cell, without the blanks around it."""


def read_rows(path: Path, columns: Sequence[str], hint: str) -> list[Row]:
    """The rows of a CSV file with a header, UTF-8.

    Commas, semicolons or tabs separate the cells; the header says which. Capitals in the header, blank lines, a byte order
    mark and any kind of line end are fine.

    Args:
        path: the file.
        columns: that it must have, in small letters; others may stand beside them.
        hint: what to do where the file is not there or lacks a column.

    Raises:
        InputError: no such file or no text, a column that is missing or named twice, a row with more or fewer cells than the
            header.
    """
    if not path.is_file():  # a pipe or a device could be endless
        raise InputError(f"{path}: {'no such file' if not path.exists() else 'not a file'}; {hint}")
    try:
        text = read_file(path, MAX_TABLE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as a CSV file, it is not UTF-8; save it as CSV in UTF-8") from error
    headers: list[list[str]] = []
    for separator in SEPARATORS:
        rows = _split(path, text, separator)
        headers.append([cell.strip().lower() for cell in rows[0][1]] if rows else [])
        if set(columns) <= set(headers[-1]):
            return _checked(path, headers[-1], rows[1:])
    missing = next(column for column in columns if column not in headers[0])
    raise InputError(f"{path}: no column {missing}; {hint}")


def number_in(where: str, row: Row, column: str) -> float:
    """The finite number in a cell; InputError, beginning with `where`, where it holds something else."""
    cell = row.cells[column]
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in cell:  # Python reads 1_5 as 15
        remedy = "write decimals with a point" if "," in cell else "correct or remove the row"
        raise InputError(f"{where}: {column} is {shown(cell)}, not a finite number; {remedy}")
    return value


def shown(cell: str) -> str:
    """A cell for a message: on one line, and not too long."""
    return repr(cell if len(cell) <= MAX_SHOWN else cell[:MAX_SHOWN] + "...")


def _split(path: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Line and cells of each row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if len(cells) > 1 or any(cell.strip() for cell in cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: cannot be read as a CSV file ({error}); correct the row") from error
    return rows


def _checked(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> list[Row]:
    twice = next((name for number, name in enumerate(header) if name and name in header[:number]), None)
    if twice is not None:
        raise InputError(f"{path}: column {shown(twice)} is named twice in the header; rename or remove one of them")
    for line, cells in rows:
        if len(cells) != len(header):
            remedy = "give each column a cell"
            if len(cells) > len(header):
                remedy = "write decimals with a point (1.5, not 1,5), and quotes around a cell that holds the separator"
            if any("\n" in cell or "\r" in cell for cell in cells):
                remedy = "a quote may be open: close it"
            raise InputError(f"{path}, line {line}: {len(cells)} cells under {len(header)} columns; {remedy}")
    return [Row(line, dict(zip(header, (cell.strip() for cell in cells), strict=True))) for line, cells in rows]
