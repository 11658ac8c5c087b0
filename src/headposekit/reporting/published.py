"""Published numbers, as printed, and what a reader must know of them."""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from headposekit.csv_file import number_in, read_rows
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLES

NUMBERS = (*ANGLES, "mae")
COLUMNS = ("paper", "table", "test_set", "method", *NUMBERS, "model_size_mb", "note")
UNVERIFIED = "UNVERIFIED"
"""With which the note of a number begins that nobody has looked up in its paper."""
ROUNDING = 0.015
"""By how much a printed mean of three printed angles may be off it (and a little)."""


@dataclass(frozen=True)
class Published:
    """One printed row."""

    errors: dict[str, float]  # yaw, pitch, roll and mae in degrees; what was not printed is absent
    size_mb: str = ""  # of the model file
    notes: tuple[str, ...] = ()  # misprints, missing verification, whatever the data file remarks

    @property
    def angles(self) -> list[float]:
        """Errors of yaw, pitch and roll; empty where not all are printed."""
        return [self.errors[angle] for angle in ANGLES] if {*ANGLES} <= {*self.errors} else []

    @property
    def mae(self) -> float | None:
        """The printed mean, or that of the printed angles."""
        return self.errors.get("mae", fmean(self.angles) if self.angles else None)


def read_published(path: Path) -> list[dict[str, str]]:
    """The rows of the data file, column by column.

    Raises:
        InputError: no such file, or anything else in it.
    """
    rows = read_rows(path, COLUMNS, "it belongs to the project, restore it")
    for row in rows:
        for key in NUMBERS:
            if row.cells[key]:
                number_in(f"{path}, line {row.line}", row, key)
        if row.cells["note"].startswith(UNVERIFIED):
            row.cells["note"] = "not compared with the paper itself"
    return [row.cells for row in rows]


def find_published(rows: list[dict[str, str]], **wanted: str) -> Published | None:
    """The one row whose columns say what is wanted; None where nothing was printed.

    Raises:
        InputError: several rows fit, or there is no such column.
    """
    if rows and (unknown := sorted(set(wanted) - set(rows[0]))):
        raise InputError(f"published: {unknown[0]} is no column of the published numbers; choose from {', '.join(rows[0])}")
    fitting = [row for row in rows if wanted.items() <= row.items()]
    if not fitting:
        return None
    if len(fitting) > 1:
        raise InputError(f"{len(fitting)} published rows fit {wanted}; say more in the experiment's `published:`")
    (row,) = fitting
    errors = {key: float(row[key]) for key in NUMBERS if row[key]}
    notes = [row["note"]] if row["note"] else []
    if len(errors) == 4:
        mean = fmean(errors[angle] for angle in ANGLES)
        if abs(mean - errors["mae"]) > ROUNDING and "average to" not in row["note"]:
            notes.append(f"printed angles average to {mean:.2f}")
    return Published(errors, row["model_size_mb"], tuple(notes))
