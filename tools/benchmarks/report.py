"""Benchmarks on the terminal and as Markdown."""

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

COLUMNS = ("stage", "measured", "median", "slowest", "fastest", "per core")


def print_benchmark(results: dict[str, Any], console: Console | None = None) -> None:
    """Print the content of benchmark.json: one row a number.

    Args:
        results: see `benchmark.py`.
        console: where to; by default standard output.
    """
    table = Table(title=_title(results), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in COLUMNS:
        is_text = column in ("stage", "measured")
        # On a narrow terminal names are broken, numbers never.
        table.add_column(column, justify="left" if is_text else "right", no_wrap=not is_text, min_width=None if is_text else 9)
    for row in _rows(results):
        table.add_row(*row)
    (console or Console()).print(table)


def as_markdown(results: dict[str, Any]) -> str:
    """The same as a table of a Markdown page."""
    head = [f"| {' | '.join(COLUMNS)} |", "|---|---|--:|--:|--:|--:|"]
    lines = [f"{_title(results)}, commit {results['commit']}", "", *head]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in _rows(results))]) + "\n"


def _title(results: dict[str, Any]) -> str:
    return f"Benchmark · {results['cores']} cores · {results['device']} · torch {results['versions'].get('torch', '?')}"


def _rows(results: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for stage, values in results.items():
        if not isinstance(values, dict) or stage == "versions":
            continue
        threads = values.get("threads", 1) if results["device"] == "cpu" else 0  # a GPU's speed is not its host's cores'
        for key, value in values.items():
            rate = value if isinstance(value, dict) else {"median": value}
            is_rate = key.endswith("per_second") and threads
            cells = [_number(rate[column]) if column in rate else "" for column in ("median", "slowest", "fastest")]
            yield stage, key.replace("_", " "), *cells, _number(rate["median"] / threads) if is_rate else ""


def _number(value: float) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) >= 1e6 else f"{value:,.2f}"
