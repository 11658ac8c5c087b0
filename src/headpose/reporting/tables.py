"""A paper's table beside what was measured: as Markdown, CSV and LaTeX."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headpose.reporting.published import Published
from headpose.reporting.rules import describe_rules
from headpose.reporting.runs import Predictions

DASH = "–"


@dataclass(frozen=True)
class Measured:
    """Errors of the repetitions of one training on one test set.

    Attributes:
        last, best: one dict of errors (yaw, pitch, roll, mae, geodesic; degrees) a seed; `best` may be empty.
        n: faces.
        rules, crop, commits: as the runs recorded them; of the rules see `describe_rules`.
        without_pose: for how many of the faces there is no pose, which the errors leave out; the most of any seed.
    """

    last: tuple[dict[str, float], ...]
    best: tuple[dict[str, float], ...]
    n: int
    rules: dict[str, Any]
    crop: str
    commits: tuple[str, ...]
    without_pose: int = 0


@dataclass
class Row:
    """One row of a table: a network, a fusion, or somebody else's number.

    Attributes:
        label: as printed.
        size_mb: float32 megabytes of our network.
        published, measured: by test set; absent where there is none.
        predictions: by test set, one for each seed.
        tested_as: by test set, what the runs call it; a row may have one of its own.
        checkpoints: of the last epochs, one for each seed.
        line, x: of a figure of curves, which line the row is a point of, and where; see `figures.Curve`.
        solver: in words, where landmarks become a pose.
    """

    label: str
    size_mb: float | None = None
    published: dict[str, Published] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    predictions: dict[str, list[Predictions]] = field(default_factory=dict)
    tested_as: dict[str, str] = field(default_factory=dict)
    checkpoints: list[Path] = field(default_factory=list)
    line: str | None = None
    x: float | None = None
    solver: str | None = None


@dataclass
class Table:
    """A table of the papers, ready to be written.

    Attributes:
        title: as its heading.
        test_sets: our name of each to its printed name.
        rows: in the paper's order.
        missing: labels of rows that have not been trained, or not been tested on all test sets.
        remarks: what else a reader should know.
    """

    title: str
    test_sets: dict[str, str]
    rows: list[Row]
    missing: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def cells(self, columns: Sequence[str] | None = None) -> tuple[list[str], list[list[str]], list[str]]:
        """Header, rows and footnotes as text.

        Args:
            columns: of each test set, some of `COLUMNS`; null for all. Where nobody has published anything, what compares
                with it is left out.
        """
        columns = COLUMNS if columns is None else columns
        is_published = any(row.published for row in self.rows)
        if not is_published:
            columns = [column for column in columns if column not in ("published", "difference")]
        notes: list[str] = []
        header = ["method", "MB", *(["MB published"] if is_published else [])]
        for name in self.test_sets.values():
            header += [f"{name} {part}" for part in columns]
        body = []
        for row in self.rows:
            size = DASH if row.size_mb is None else f"{row.size_mb:.2f}"
            printed = {published.size_mb for published in row.published.values() if published.size_mb}
            cells = [row.label, size, *([", ".join(sorted(printed)) or DASH] if is_published else [])]
            for test_set in self.test_sets:
                values = _columns(row.published.get(test_set), row.measured.get(test_set), notes)
                cells += [value for column, value in zip(COLUMNS, values, strict=True) if column in columns]
            body.append(cells)
        return header, body, notes

    def markdown(self, columns: Sequence[str] | None = None) -> str:
        """With footnotes and what the runs say of themselves; `columns` as in `cells`."""
        header, body, notes = self.cells(columns)
        rule = ["---", *("---:" for _ in header[1:])]
        lines = [f"# {self.title}", "", *(f"| {' | '.join(cells)} |" for cells in (header, rule, *body)), ""]
        lines += [f"[{number}] {note}  " for number, note in enumerate(notes, start=1)]
        return "\n".join([*lines, *(["", *self.provenance()] if self.provenance() else [])]) + "\n"

    def csv(self) -> str:
        """One line a row, footnote numbers in brackets."""
        header, body, _ = self.cells()
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *body])
        return text.getvalue()

    def latex(self) -> str:
        """A `tabular` for booktabs."""
        header, body, notes = self.cells()
        lines = [f"% {self.title}", f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", "\\toprule"]
        lines += [" & ".join(map(_escape, header)) + r" \\", "\\midrule"]
        lines += [" & ".join(map(_escape, cells)) + r" \\" for cells in body]
        lines += ["\\bottomrule", "\\end{tabular}", *(f"% [{number}] {note}" for number, note in enumerate(notes, start=1))]
        return "\n".join(lines) + "\n"

    def provenance(self) -> list[str]:
        """Protocol, crop, images and commits of each test set's runs, the rows whose errors leave faces out, remarks."""
        lines = []
        for test_set, name in self.test_sets.items():
            runs = [row.measured[test_set] for row in self.rows if test_set in row.measured]
            kinds = sorted({(describe_rules(run.rules), run.crop, run.n) for run in runs})
            commits = sorted({commit for run in runs for commit in run.commits})
            lines += [f"{name}: {rules}; crop {crop}; {n} faces; commit {', '.join(commits)}." for rules, crop, n in kinds]
            without = [
                f"{row.label} {run.without_pose} of {run.n}"
                for row in self.rows
                if (run := row.measured.get(test_set)) and run.without_pose
            ]
            lines += [f"{name}, faces without a pose, which the errors leave out: {'; '.join(without)}."] if without else []
        return [*lines, *self.remarks]


COLUMNS = ("published", "last", "best", "difference", "yaw", "pitch", "roll", "geodesic", "seeds", "n")
"""Of each test set; the first four are mean absolute errors, and the difference is that of `last` to the published one."""


def _columns(published: Published | None, measured: Measured | None, notes: list[str]) -> list[str]:
    marks = ""
    for note in published.notes if published else ():
        if note not in notes:
            notes.append(note)
        marks += f" [{notes.index(note) + 1}]"
    printed = published.errors.get("mae") if published else None
    if printed is None and published and len(published.errors) == 3:
        printed = statistics.fmean(published.errors.values())
    shown = (DASH if printed is None else f"{printed:.2f}") + marks
    if measured is None:
        return [shown, *[DASH] * (len(COLUMNS) - 1)]
    mae = statistics.fmean(error["mae"] for error in measured.last)
    difference = DASH if printed is None else f"{mae - printed:+.2f}"
    parts = [mean_and_std([error[key] for error in measured.last]) for key in ("yaw", "pitch", "roll", "geodesic")]
    best = mean_and_std([error["mae"] for error in measured.best])
    last = mean_and_std([error["mae"] for error in measured.last])
    n = f"{measured.n - measured.without_pose} of {measured.n}" if measured.without_pose else str(measured.n)
    return [shown, last, best, difference, *parts, str(len(measured.last)), n]


def mean_and_std(values: Sequence[float]) -> str:
    """Mean, and the standard deviation over seeds where there are several."""
    if not values:
        return DASH
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def _escape(text: Any) -> str:
    for plain, escaped in (("&", r"\&"), ("%", r"\%"), ("_", r"\_"), ("±", r"$\pm$"), (DASH, "--")):
        text = str(text).replace(plain, escaped)
    return str(text)
