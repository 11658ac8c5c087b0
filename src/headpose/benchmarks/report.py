"""Benchmarks on the terminal."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def print_benchmark(results: dict[str, Any], console: Console) -> None:
    """Print the content of benchmark.json: one row a number."""
    table = Table(title=f"Benchmark · {results['cores']} cores", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("stage", "measured", "value"):
        table.add_column(column, justify="right" if column == "value" else "left", no_wrap=True)
    for stage, values in results.items():
        if isinstance(values, dict) and stage != "versions":
            for key, value in values.items():
                table.add_row(stage, key.replace("_", " "), f"{value:,.2f}" if isinstance(value, float) else str(value))
    console.print(table)
