"""What entry points print when they are done."""

from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from headposekit.geometry.conventions import ERRORS

NARROW = 12
"""Width of a column of wrapped text, at least."""
MAX_PROBLEMS = 20
"""Lines about unreadable files on the terminal."""


def print_results(results: dict[str, Any], console: Console | None = None) -> None:
    """Print the test errors of one run, and how many faces a model that can fail has no pose for.

    Args:
        results: the content of results.json.
        console: where to; by default standard output.
    """
    table = Table(
        title=f"Mean absolute error in degrees · {results['params']:,} parameters",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in ("test set", "weights", *ERRORS, "n", "skipped"):
        table.add_column(column, justify="left" if column in ("test set", "weights") else "right", no_wrap=True)
    for test_set, entry in results["test"].items():
        for weights in ("initial", "last", "best"):
            if weights in entry:
                errors = [f"{entry[weights][column]:.2f}" for column in ERRORS]
                table.add_row(test_set, weights, *errors, str(entry["n"]), str(entry["skipped"]))
    console = console or Console()
    print_table(table, console)
    for test_set, entry in results["test"].items():
        if entry.get("refused") or entry.get("behind"):
            console.print(
                f"{test_set}: {entry['refused']} faces refused, {entry['behind']} poses behind the camera; "
                f"errors are means over {entry['n'] - entry['without_pose']} faces"
            )


def print_table(table: Table, console: Console) -> None:
    """Print a table; where a column that may not be wrapped would be cut, each row as lines of a name and a value."""
    width = Measurement.get(console, console.options.update(width=10_000), table).maximum
    for column in table.columns:
        if not column.no_wrap:
            longest = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
            width -= max(0, longest - NARROW)
    if width <= console.width:
        console.print(table)
        return
    if table.title:
        console.print(table.title)
    for row in zip(*(column.cells for column in table.columns), strict=True):
        for column, cell in zip(table.columns, row, strict=True):
            if cell:
                console.print(f"{column.header} {cell}".strip(), markup=False, highlight=False, soft_wrap=True)
        console.print()


def print_sweep(rows: list[dict[str, str]], console: Console | None = None) -> None:
    """Print how each cell of a sweep ended.

    Args:
        rows: `cell` (its options), `folder`, `state` and `reason` of each.
        console: where to; by default standard output.
    """
    counts = {state: sum(row["state"] == state for row in rows) for state in ("finished", "failed", "missing")}
    title = " · ".join(f"{count} {state}" for state, count in counts.items() if count)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("cell", "folder", "state", "reason"):
        table.add_column(column, no_wrap=column in ("folder", "state"))
    for row in rows:
        table.add_row(*(row[column] for column in ("cell", "folder", "state", "reason")))
    print_table(table, console or Console())


def print_search(rows: list[dict[str, str]], metric: str, console: Console | None = None) -> None:
    """Print the trials of a search.

    Args:
        rows: `trial`, `state`, `value`, `folder`, `options` and `reason` of each.
        metric: what `value` is.
        console: where to; by default standard output.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in rows[0]:
        is_number = column in ("trial", "value")
        name = metric if column == "value" else column
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number)
    for row in rows:
        table.add_row(*row.values())
    print_table(table, console or Console())


def print_export(results: dict[str, Any], console: Console | None = None) -> None:
    """Print the content of export.json: each file, how far it is from the network, how long it takes.

    Args:
        results: see `headposekit.weights.export`.
        console: where to; by default standard output.
    """
    table = Table(title=f"Exported {results['file']}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "mean degrees off", "max", "ms a picture", "least"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    off = {"int8": results.get("int8", {}).get("degrees_from_float", {})}
    for name, times in results["milliseconds"].items():
        degrees = {} if name == "network" else off.get(name, results["degrees_from_network"])
        shown = [f"{degrees[key]:.2g}" if degrees else "" for key in ("mean", "max")]
        table.add_row(name, *shown, f"{times['median']:.2f}", f"{times['least']:.2f}")
    print_table(table, console or Console())


def print_prediction(summary: dict[str, Any], console: Console | None = None) -> None:
    """Print the content of a prediction's summary.json: counts, speed, where the files are, and what could not be read.

    Args:
        summary: see `headposekit.inference.predictions`.
        console: where to; by default standard output.
    """
    console = console or Console(soft_wrap=True)
    console.print(
        f"{summary['frames']} frames, {summary['faces']} faces ({summary['without_face']} frames without one), "
        f"{summary['unreadable']} unreadable; {summary['frames_per_second']:.1f} frames a second"
    )
    console.print(
        f"written to {summary['poses']}{', ' + summary['drawn'] if summary['drawn'] else ''}", highlight=False, markup=False
    )
    for problem in summary["problems"][:MAX_PROBLEMS]:
        console.print(f"left out: {problem}", style="yellow", highlight=False, markup=False)
    if len(summary["problems"]) > MAX_PROBLEMS:
        console.print(f"... and {len(summary['problems']) - MAX_PROBLEMS} more, see unreadable.csv beside it", style="yellow")
    for problem in summary["not_drawn"][:MAX_PROBLEMS]:
        console.print(problem, style="yellow", highlight=False, markup=False)


def result_rows(results: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The same table as plain columns and rows, for loggers."""
    rows = [
        [test_set, weights, *(entry[weights][column] for column in ERRORS), entry["n"]]
        for test_set, entry in results["test"].items()
        for weights in ("initial", "last", "best")
        if weights in entry
    ]
    return ["test set", "weights", *ERRORS, "n"], rows
