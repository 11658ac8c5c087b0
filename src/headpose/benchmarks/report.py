"""Benchmarks on the terminal and as Markdown."""

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def print_benchmark(results: dict[str, Any], console: Console) -> None:
    """Print the content of benchmark.json: one row a number."""
    table = Table(title=_title(results), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("stage", "measured", "value"):
        table.add_column(column, justify="right" if column == "value" else "left", no_wrap=True)
    for row in _rows(results):
        table.add_row(*row)
    console.print(table)


def as_markdown(results: dict[str, Any]) -> str:
    """The same as a table of a Markdown page."""
    lines = [f"{_title(results)}, commit {results['commit']}", "", "| stage | measured | value |", "|---|---|--:|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in _rows(results))]) + "\n"


def _title(results: dict[str, Any]) -> str:
    return f"Benchmark · {results['cores']} cores · torch {results['versions'].get('torch', '?')}"


def _rows(results: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for stage, values in results.items():
        if isinstance(values, dict) and stage != "versions":
            for key, value in values.items():
                yield stage, key.replace("_", " "), _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 1e6 else f"{value:,.2f}"
