"""A paper's table beside what was measured: as Markdown, CSV and LaTeX."""

import csv
import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headposekit.geometry.conventions import ALIGNED_MEANS, ANGLES, pose_to_pyr
from headposekit.reporting.published import Published
from headposekit.training.rules import describe_rules
from headposekit.training.runs import Predictions, Run, read_predictions

DASH = "–"
COLUMNS = ("published", "last", "best", "difference", *ANGLES, "geodesic", "aligned", "seeds", "n")
"""Of each test set; the first four are mean absolute errors, and the difference is that of `last` to the published one."""
WITHIN = "≈"
"""Marks a difference smaller than that of two annotations."""


@dataclass(frozen=True)
class Measured:
    """What the repetitions of one training got on one test set."""

    last: tuple[dict[str, float], ...]  # of each seed `ERRORS`, mostly `ALIGNED` too, in degrees, after the last epoch
    best: tuple[dict[str, float], ...]  # likewise, of the best epoch; may be empty
    n: int  # faces
    rules: dict[str, Any]  # as the runs recorded them, see `describe_rules`
    crop: str
    commits: tuple[str, ...]
    without_pose: int = 0  # faces that the errors leave out, the most of any seed
    read: Callable[[], list[Predictions]] = list  # gives the predictions of each seed that has any

    @functools.cached_property
    def predictions(self) -> list[Predictions]:
        """Of each seed; read when they are first needed."""
        return self.read()

    @property
    def maes(self) -> list[float]:
        """Mean absolute error of each seed after the last epoch, degrees."""
        return [errors["mae"] for errors in self.last]

    @property
    def mae(self) -> float:
        """Their mean."""
        return fmean(self.maes)

    def shown(self, key: str) -> str:
        """An error after the last epoch as text, see `mean_and_std`; a dash where a seed lacks it."""
        return mean_and_std([errors[key] for errors in self.last] if all(key in errors for errors in self.last) else [])


def measure(tests: Sequence[tuple[Run, str]]) -> Measured:
    """What runs that differ in their seed recorded of a test set, which each may call by another name."""
    entries = [run.results["test"][name] for run, name in tests]
    return Measured(
        tuple(entry["last"] for entry in entries),
        tuple(entry["best"] for entry in entries if "best" in entry),
        entries[0]["n"],
        entries[0]["rules"],
        entries[0]["crop"],
        tuple(sorted({str(run.results["commit"]) for run, _ in tests})),
        max(entry.get("without_pose", 0) for entry in entries),
        lambda: [part for run, name in tests if (part := read_predictions(run, name)) is not None],
    )


def poses_of(predictions: Predictions) -> NDArray[np.float64]:
    """True and predicted poses (2, n, 3), degrees, faces in the order of their names; NaN where there is no pose."""
    poses = np.array([predictions[name] for name in sorted(predictions)], dtype=np.float64)
    return poses.reshape(-1, 2, 3).transpose(1, 0, 2)


def errors_of_faces(predictions: Predictions, in_pyr: bool = False) -> NDArray[np.float64]:
    """Absolute errors (n, 3) of yaw, pitch and roll, degrees, in the order of names; NaN where there is no pose.

    Args:
        predictions: of a test set.
        in_pyr: measure in the angles of the other Euler order, see `headposekit.geometry.conventions.pose_to_pyr`.
    """
    true, predicted = poses_of(predictions)
    if in_pyr:
        true, predicted = pose_to_pyr(true), pose_to_pyr(np.nan_to_num(predicted)) + 0 * predicted
    errors: NDArray[np.float64] = np.abs((predicted - true + 180) % 360 - 180)
    return errors


@dataclass
class Row:
    """One row of a table: a network, a fusion, or somebody else's number."""

    label: str
    size_mb: float | None = None  # of our network, float32
    published: dict[str, Published] = field(default_factory=dict)  # by test set, as `measured`
    measured: dict[str, Measured] = field(default_factory=dict)
    tested_as: dict[str, str] = field(default_factory=dict)  # by test set, what the runs call it
    checkpoints: list[Path] = field(default_factory=list)  # of the last epochs, one for each seed
    line: str | None = None  # of a figure of curves, which line the row is a point of, see `figures.Curve`
    x: float | None = None  # and where
    solver: str | None = None  # in words, where landmarks become a pose
    note: str | None = None  # what was guessed, or why it is not run here


@dataclass
class Table:
    """A table of the papers, ready to be written."""

    title: str
    test_sets: dict[str, str]  # our name of each to its printed name
    rows: list[Row]
    missing: list[str] = field(default_factory=list)  # labels of rows not trained, or not tested on all test sets
    remarks: list[str] = field(default_factory=list)  # what else a reader should know
    tolerances: dict[str, float] = field(default_factory=dict)  # by test set, degrees below which a difference is marked

    def columns(self, wanted: Sequence[str] = COLUMNS) -> list[str]:
        """The wanted columns of each test set; where nothing is published, without those that compare with it."""
        compares = any(row.published for row in self.rows)
        return [column for column in wanted if compares or column not in ("published", "difference")]

    def cells(self, wanted: Sequence[str] = COLUMNS) -> tuple[list[str], list[list[str]], list[str]]:
        """Header, rows and footnotes as text, with some of `COLUMNS` for each test set."""
        columns = self.columns(wanted)
        compares = any(row.published for row in self.rows)
        header = ["method", "MB", *(["MB published"] if compares else [])]
        header += [f"{name} {column}" for name in self.test_sets.values() for column in columns]
        notes: list[str] = []
        body = []
        for row in self.rows:
            printed = {published.size_mb for published in row.published.values() if published.size_mb}
            cells = [row.label, DASH if row.size_mb is None else f"{row.size_mb:.2f}"]
            cells += [", ".join(sorted(printed)) or DASH] if compares else []
            for test_set in self.test_sets:
                values = _values(row.published.get(test_set), row.measured.get(test_set), notes)
                values |= self._marked(test_set, row, values)
                if row.note:
                    notes += [row.note] if row.note not in notes else []
                    values["last"] = f"{values.get('last', DASH)} [{notes.index(row.note) + 1}]"
                cells += [values.get(column, DASH) for column in columns]
            body.append(cells)
        return header, body, notes

    def _marked(self, test_set: str, row: Row, values: dict[str, str]) -> dict[str, str]:
        """Of a row's texts, those of errors that differ from the least, or the published, by less than two annotations do."""
        if test_set not in self.tolerances or test_set not in row.measured:
            return {}
        mae, least = row.measured[test_set].mae, min(r.measured[test_set].mae for r in self.rows if test_set in r.measured)
        printed = row.published[test_set].mae if test_set in row.published else None
        off = {"last": mae - least, "difference": abs(mae - printed) if printed is not None else 0.0}
        return {key: f"{values[key]} {WITHIN}" for key in off if 0 < off[key] < self.tolerances[test_set] and key in values}

    def markdown(self, wanted: Sequence[str] = COLUMNS) -> str:
        """With footnotes and what the runs say of themselves."""
        header, body, notes = self.cells(wanted)
        rule = ["---", *("---:" for _ in header[1:])]
        lines = [f"# {self.title}", "", *(f"| {' | '.join(cells)} |" for cells in (header, rule, *body)), ""]
        lines += [f"[{number}] {note}  " for number, note in enumerate(notes, start=1)]
        lines += ["", *(f"{line}  " for line in self.provenance(wanted))]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """One line a row, footnote numbers in brackets."""
        header, body, _ = self.cells()
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *body])
        return text.getvalue()

    def latex(self) -> str:
        """A `tabular` for booktabs."""
        header, body, notes = self.cells()
        first, *others = (" & ".join(map(_escape, cells)) + r" \\" for cells in (header, *body))
        lines = [f"% {self.title}", f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", "\\toprule"]
        lines += [first, "\\midrule", *others, "\\bottomrule", "\\end{tabular}"]
        lines += [f"% [{number}] {note}" for number, note in enumerate(notes, start=1)]
        return "\n".join(lines) + "\n"

    def provenance(self, wanted: Sequence[str] = COLUMNS) -> list[str]:
        """Protocol, crop, images and commits of each test set's runs, rows whose errors leave faces out, what aligned means."""
        lines = []
        for test_set, name in self.test_sets.items():
            runs = {row.label: row.measured[test_set] for row in self.rows if test_set in row.measured}
            kinds = sorted({(describe_rules(run.rules), run.crop, run.n) for run in runs.values()})
            commits = ", ".join(sorted({commit for run in runs.values() for commit in run.commits}))
            lines += [f"{name}: {rules}; crop {crop}; {n} faces; commit {commits}." for rules, crop, n in kinds]
            without = [f"{label} {run.without_pose} of {run.n}" for label, run in runs.items() if run.without_pose]
            lines += [f"{name}, faces without a pose, which the errors leave out: {'; '.join(without)}."] if without else []
        measured = [run for row in self.rows for run in row.measured.values()]
        is_aligned = "aligned" in wanted and any(run.shown("aligned_mae") != DASH for run in measured)
        return [*lines, *([ALIGNED_MEANS] if is_aligned else []), *self.remarks]


def _values(published: Published | None, measured: Measured | None, notes: list[str]) -> dict[str, str]:
    """The texts of a test set's columns, those that are known; new footnotes are added to `notes`."""
    texts = {}
    printed = published.mae if published else None
    if published:
        notes += [note for note in published.notes if note not in notes]
        marks = [f"[{notes.index(note) + 1}]" for note in published.notes]
        texts["published"] = " ".join([DASH if printed is None else f"{printed:.2f}", *marks])
    if measured:
        texts |= {key: measured.shown(key) for key in (*ANGLES, "geodesic")}
        texts["last"], texts["aligned"] = measured.shown("mae"), measured.shown("aligned_mae")
        texts["best"] = mean_and_std([errors["mae"] for errors in measured.best])
        texts["seeds"] = str(len(measured.last))
        texts["n"] = f"{measured.n - measured.without_pose} of {measured.n}" if measured.without_pose else str(measured.n)
        if printed is not None:
            texts["difference"] = f"{measured.mae - printed:+.2f}"
    return texts


def mean_and_std(values: Sequence[float]) -> str:
    """Mean, and the standard deviation over seeds where there are several."""
    if not values:
        return DASH
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _escape(text: str) -> str:
    for plain, escaped in (("&", r"\&"), ("%", r"\%"), ("_", r"\_"), ("±", r"$\pm$"), (WITHIN, r"$\approx$"), (DASH, "--")):
        text = text.replace(plain, escaped)
    return text
