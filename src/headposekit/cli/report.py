"""Show what has run: `python src/report.py` as one page, `experiments=fsanet/table4 [the sweep's options]` as one table."""

from omegaconf import DictConfig
from rich.console import Console
from rich.markdown import Markdown

from headposekit.cli.entry import entry_point
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
        page, summary = write_overview(output_dir() / "index.html", annotations)
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
        for suffix in ("png", "svg"):
            with replacing(folder / f"{figure_name}.{suffix}") as partial:
                figure.savefig(partial, dpi=150, format=suffix)
        written.append(f"{figure_name}.png")
    console.print(Markdown(table.markdown(("published", "last", "difference"))))
    for line in still_missing(name, config, given, table, [run for members in pool.values() for run in members]):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written to {folder}: {', '.join(written)}")
