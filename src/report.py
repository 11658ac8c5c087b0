"""Gather what a sweep has trained into its table: `python src/report.py experiments=fsanet/table4 [the sweep's options]`."""

from omegaconf import DictConfig
from rich.console import Console
from rich.markdown import Markdown

from headpose.running.entry import entry_point, output_dir
from headpose.running.experiments import experiment_name, experiment_table


@entry_point("report")
def report(config: DictConfig) -> None:
    """Find the runs, write table.md, table.csv and table.tex, print the first."""
    folder = output_dir() / experiment_name()
    folder.mkdir(parents=True, exist_ok=True)
    table = experiment_table(config)
    for suffix, text in (("md", table.markdown()), ("csv", table.csv()), ("tex", table.latex())):
        (folder / f"table.{suffix}").write_text(text, encoding="utf-8")
    console = Console()
    console.print(Markdown(table.markdown()))
    console.print(f"written to {folder}")


if __name__ == "__main__":
    report()
