"""Show what has run: `python src/report.py` as one page, `experiments=fsanet/table4 [the sweep's options]` as one table."""

from pathlib import Path

from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.console import Console
from rich.markdown import Markdown

from headposekit.cli.entry import entry_point
from headposekit.console import print_table
from headposekit.errors import InputError
from headposekit.files import replacing, write_text
from headposekit.paths import output_dir, runs_dir
from headposekit.reporting.annotations import Annotations
from headposekit.reporting.experiments import asked_for, draw_figures, experiment_table, still_missing
from headposekit.reporting.overview import write_overview
from headposekit.training.runs import read_pool


@entry_point("report", reads_runs=True)
def report(config: DictConfig) -> None:
    """Write the page of everything or, of one experiment, its table and figures."""
    name, given = asked_for()
    console, annotations = Console(), Annotations(config.annotations)
    if name is None:
        if given:
            raise InputError(
                f"{given[0]} is an option of a sweep; give experiments=NAME with it, or nothing for the page of all"
            )
        page, summary, sheets = write_overview(output_dir() / "index.html", annotations, config.baseline)
        for sheet in sheets:
            write_text(page.with_name(f"{sheet.name}.md"), sheet.markdown())
            if sheet.figure is not None:
                _write_figure(page.with_name(sheet.name), sheet.figure)
            print_table(sheet.header, sheet.rows, console, sheet.title, numbers=sheet.header[1:], spare=sheet.spare)
            console.print(sheet.means, highlight=False)
        console.print(f"{summary}; written to {page}", highlight=False)
        return
    pool = read_pool(runs_dir())
    table = experiment_table(config, given, pool)
    annotations.annotate(table)
    annotations.check_used()
    folder = output_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"table.md": table.markdown(), "table.csv": table.csv(), "table.tex": table.latex()}
    for file, text in texts.items():
        write_text(folder / file, text)
    written = [*texts]
    for figure_name, figure in draw_figures(config, table):
        _write_figure(folder / figure_name, figure)
        written.append(f"{figure_name}.png")
    console.print(Markdown(table.markdown(("published", "last", "difference"))))
    for line in still_missing(name, config, given, table, [run for members in pool.values() for run in members]):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written to {folder}: {', '.join(written)}")


def _write_figure(path: Path, figure: Figure) -> None:
    """As PNG and SVG, on white."""
    for suffix in ("png", "svg"):
        with replacing(path.with_name(f"{path.name}.{suffix}")) as partial:
            figure.savefig(partial, dpi=150, format=suffix, facecolor="white")
