"""What entry points print when they are done."""

import shlex
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from headposekit.geometry.conventions import ALIGNED_MEANS, ERRORS

NARROW = 12
"""Width of a column of wrapped text, at least."""
MAX_PROBLEMS = 20
"""Lines about unreadable files on the terminal."""


def print_results(results: dict[str, Any], console: Console | None = None) -> None:
    """Print the errors in results.json, and how many faces a model that can fail has no pose for."""
    columns, rows = result_rows(results)
    body = [
        [
            name,
            weights,
            *("" if error == "" else f"{error:.2f}" for error in errors),
            str(n),
            str(results["test"][name]["skipped"]),
        ]
        for name, weights, *errors, n in rows
    ]
    console = console or Console()
    title = f"Mean absolute error in degrees · {results['params']:,} parameters"
    columns = [*columns, "skipped"]
    shown = print_table(columns, body, console, title, numbers=columns[2:], spare=("aligned",))
    if "aligned" in shown:
        console.print(ALIGNED_MEANS, highlight=False)
    for name, entry in results["test"].items():
        if entry.get("refused") or entry.get("behind"):
            console.print(
                f"{name}: {entry['refused']} faces refused, {entry['behind']} poses behind the camera; "
                f"errors are means over {entry['n'] - entry['without_pose']} faces"
            )


def print_next_steps(folder: Path, program: str, console: Console | None = None) -> None:
    """Print where a training's pictures of examples lie, and how `program` (predict.py as typed) tries its network."""
    console = console or Console()
    for path in sorted(folder.glob("examples_*.png")):
        console.print(f"Faces with their true and estimated poses: {path}", soft_wrap=True, highlight=False, markup=False)
    checkpoint = shlex.quote(f"checkpoint={folder / 'checkpoints' / 'last.ckpt'}")
    command = f"{program} {checkpoint} input=PICTURE.jpg draw=axes"
    console.print(f"On a picture of your own: {command}", soft_wrap=True, highlight=False, markup=False)


def result_rows(results: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the errors in results.json: a row for each test set and the weights it was tested with.

    The column `aligned` is there where a row has such an error, and empty where one has none.
    """
    tested = [
        (test_set, weights, entry[weights], entry["n"])
        for test_set, entry in results["test"].items()
        for weights in ("initial", "last", "best")
        if weights in entry
    ]
    names = {**{name: name for name in ERRORS}, "aligned_mae": "aligned"}
    if not any("aligned_mae" in errors for _, _, errors, _ in tested):
        del names["aligned_mae"]
    rows = [[test_set, weights, *(errors.get(name, "") for name in names), n] for test_set, weights, errors, n in tested]
    return ["test set", "weights", *names.values(), "n"], rows


def print_sweep(rows: list[dict[str, str]], console: Console | None = None) -> None:
    """Print how each cell of a sweep ended: `cell` (its options), `folder`, `state` and `reason` of each."""
    counts = {state: sum(row["state"] == state for row in rows) for state in ("finished", "failed", "missing")}
    title = " · ".join(f"{count} {state}" for state, count in counts.items() if count)
    columns = ("cell", "folder", "state", "reason")
    print_table(columns, [[row[column] for column in columns] for row in rows], console, title, wrapped=("cell", "reason"))


def print_search(rows: list[dict[str, str]], metric: str, console: Console | None = None) -> None:
    """Print the trials of a search; their `value` is one of `metric`."""
    columns = [metric if column == "value" else column for column in rows[0]]
    numbers = ("trial", metric)
    wrapped = [column for column in columns if column not in numbers]
    print_table(columns, [list(row.values()) for row in rows], console, numbers=numbers, wrapped=wrapped)


def print_export(results: dict[str, Any], console: Console | None = None) -> None:
    """Print the content of export.json: each file, how far it is from the network, how long it takes."""
    columns = ("", "mean degrees off", "max", "ms a picture", "least")
    off = {"int8": results.get("int8", {}).get("degrees_from_float", {})}
    body = []
    for name, times in results["milliseconds"].items():
        degrees = {} if name == "network" else off.get(name, results["degrees_from_network"])
        shown = [f"{degrees[key]:.2g}" if degrees else "" for key in ("mean", "max")]
        body.append([name, *shown, f"{times['median']:.2f}", f"{times['least']:.2f}"])
    print_table(columns, body, console, f"Exported {results['file']}", numbers=columns[1:])


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    console: Console | None = None,
    title: str | None = None,
    numbers: Container[str] = (),
    wrapped: Container[str] = (),
    spare: Container[str] = (),
) -> Sequence[str]:
    """Print a table; where a column that may not be `wrapped` would be cut, each row as lines of a name and a value.

    Columns that are `spare` are left out first. Returns the columns that were printed.
    """
    console, rows = console or Console(), list(rows)
    for shown in (columns, [column for column in columns if column not in spare]):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.collapse_padding = True
        for column in shown:
            table.add_column(column, justify="right" if column in numbers else "left", no_wrap=column not in wrapped)
        for row in rows:
            table.add_row(*(cell for column, cell in zip(columns, row, strict=True) if column in shown))
        width = Measurement.get(console, console.options.update(width=10_000), table).maximum
        for number, column in enumerate(columns):
            if column in wrapped:
                width -= max(0, max(cell_len(cell) for cell in (column, *(row[number] for row in rows))) - NARROW)
        if width <= console.width:
            console.print(table)
            return shown
    if title:
        console.print(title)
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if cell:
                console.print(f"{column} {cell}".strip(), markup=False, highlight=False, soft_wrap=True)
        console.print()
    return columns


def print_prediction(summary: dict[str, Any], console: Console | None = None) -> None:
    """Print a prediction's summary.json: counts, speed, where the files are, and what could not be read."""
    console = console or Console(soft_wrap=True)
    console.print(
        f"{summary['frames']} frames, {summary['faces']} faces ({summary['without_face']} frames without one), "
        f"{summary['unreadable']} unreadable; {summary['frames_per_second']:.1f} frames a second"
    )
    drawn = f", {summary['drawn']}" if summary["drawn"] else ""
    console.print(f"written to {summary['poses']}{drawn}", highlight=False, markup=False)
    problems, shown = summary["problems"], MAX_PROBLEMS
    lines = [f"left out: {problem}" for problem in problems[:shown]]
    lines += [f"... and {len(problems) - shown} more, see unreadable.csv beside it"] if len(problems) > shown else []
    for line in [*lines, *summary["not_drawn"][:shown]]:
        console.print(line, style="yellow", highlight=False, markup=False)
