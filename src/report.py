"""Gather what a sweep has trained into its table: `python src/report.py experiments=fsanet/table4 [the sweep's options]`."""

from omegaconf import DictConfig
from rich.console import Console
from rich.markdown import Markdown

from headpose.running.entry import entry_point, output_dir
from headpose.running.experiments import experiment_name, experiment_table, write_figures


@entry_point("report")
def report(config: DictConfig) -> None:
    """Find the runs, write table and figures, print the table."""
    folder = output_dir() / experiment_name()
    folder.mkdir(parents=True, exist_ok=True)
    table = experiment_table(config)
    for suffix, text in (("md", table.markdown()), ("csv", table.csv()), ("tex", table.latex())):
        (folder / f"table.{suffix}").write_text(text, encoding="utf-8")
    figures = write_figures(config, table, folder)
    console = Console()
    console.print(Markdown(table.markdown(("published", "last", "difference"))))
    console.print(f"written to {folder}: table.md, table.csv, table.tex{''.join(f', {name}.png' for name in figures)}")


if __name__ == "__main__":
    report()
