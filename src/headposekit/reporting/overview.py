"""The page of everything: what the pool holds, gathered for `reporting/templates/report.html`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
from hydra.errors import HydraException
from markupsafe import Markup
from matplotlib.figure import Figure
from omegaconf.errors import OmegaConfBaseException

from headposekit.errors import InputError
from headposekit.geometry.conventions import ALIGNED_MEANS, ANGLES
from headposekit.paths import PUBLISHED, runs_dir, typed
from headposekit.pictures import read_image
from headposekit.reporting import html
from headposekit.reporting.annotations import Annotations
from headposekit.reporting.experiments import draw_figures, experiment_table, filter_of
from headposekit.reporting.figures import Curve, error_by_angle, ranking, size_error, training_curves
from headposekit.reporting.leaderboard import BANDS, OF_OTHERS, Board, Score, boards, networks, perturbations, score
from headposekit.reporting.published import read_published
from headposekit.reporting.tables import COLUMNS, DASH, WITHIN, Table
from headposekit.sweeps.cells import recorded_options, sweep_command
from headposekit.sweeps.compose import compose_training, experiment_names, raw_experiment
from headposekit.training.results import commit
from headposekit.training.rules import is_official
from headposekit.training.runs import Run, pool_of, read_runs

MAX_EXAMPLES, MAX_DRAWN_BOARDS, MAX_RANKED, MAX_LINES = 60, 4, 15, 8
PROTOCOLS_OF_PAPERS = {"P1": "FSA-Net's protocol 1", "P2": "FSA-Net's protocol 2"}


@dataclass
class Gallery:
    """Example grids, each shown once, no more than the page can bear."""

    shown: set[Path] = field(default_factory=set)
    left_out: int = 0

    def add(self, folder: Path, test_set: str, label: str) -> list[tuple[str, str]]:
        """Caption and data URL of a run's grid; none where it is not there, shown already, or one too many."""
        path = folder / f"examples_{test_set}.png"
        if path in self.shown or not path.is_file():
            return []
        if len(self.shown) >= MAX_EXAMPLES:
            self.left_out += 1
            return []
        try:
            picture = html.jpeg(read_image(path), 800)
        except InputError:
            return []
        self.shown.add(path)
        return [(f"{label}, {test_set}", picture)]


def write_overview(path: Path, annotations: Annotations) -> tuple[Path, str]:
    """Write the page of all that has run; returns its path, and what is in it, in words.

    Raises:
        InputError: nothing has run, or nothing of what the annotations are of.
    """
    runs, failures = read_runs(runs_dir()) if runs_dir().is_dir() else ([], {})
    left_out = {name: [reason] for name, reason in failures.items()}
    if not runs:
        others = f" ({len(left_out)} folders are no finished runs)" if left_out else ""
        raise InputError(f"{runs_dir()} holds no finished run{others}; {typed('train')} makes one")
    gallery = Gallery()
    nets = networks(runs)
    scores, refused = score(nets)
    for (folder, _), reason in refused.items():
        left_out.setdefault(folder, []).append(reason)
    runs = [run.without(name for folder, name in refused if folder == run.folder.name) for run in runs]
    shown_boards = [_board(board, number, gallery, annotations) for number, board in enumerate(boards(scores))]
    annotations.check_used()
    tables = _experiments(pool_of(runs), gallery, annotations)
    experiments = [shown for found in tables.values() for shown in found]
    counts = {status: sum(run.results["status"] == status for run in runs) for status in ("finished", "evaluated")}
    summary = f"{counts['finished']} trainings and {counts['evaluated']} evaluations of {len(nets)} networks"
    html.write_page(
        path,
        "report.html",
        title="Head pose: all that has run",
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=commit(),
        summary=summary,
        boards=shown_boards,
        curves=list(_perturbation_curves(scores)),
        experiments=experiments,
        missing=[
            (raw_experiment(name)["table"]["title"], f"{typed('train')} -m experiments={name}")
            for name, found in tables.items()
            if not found
        ],
        networks=sorted(nets, key=lambda network: network.label),
        left_out=[(name, "; ".join(reasons)) for name, reasons in sorted(left_out.items())],
        examples_left_out=gallery.left_out,
        drawn_boards=MAX_DRAWN_BOARDS,
        aligned_means=ALIGNED_MEANS,
    )
    return path, f"{summary}, {len(experiments)} tables, {len(left_out)} folders left out"


def _board(board: Board, number: int, gallery: Gallery, annotations: Annotations) -> dict[str, Any]:
    """A leaderboard: scores, published numbers of the same data set, figures of the best."""
    given = [score for score in board.scores if score.network.knows_the_truth]
    estimated = [score for score in board.scores if not score.network.knows_the_truth]
    drawn_of = estimated or given
    best, ranked = drawn_of[:MAX_LINES], drawn_of[:MAX_RANKED]
    disagreement = annotations.disagreement(best[0].measured)
    title = f"{board.rules}, {board.n:,} faces"
    figures: list[Markup] = []
    if len(ranked) > 1 and number < MAX_DRAWN_BOARDS:
        name = f"Best {len(best)} networks" if len(best) < len(drawn_of) else "Networks"
        table = Table(name, {board.rules: title}, [score.row(place) for place, score in enumerate(best, start=1)])
        labels = [score.row(place, 84).label for place, score in enumerate(ranked, start=1)]
        limits = np.array([score.interval for score in ranked])
        drawn: list[Figure | None] = [ranking(title, labels, [score.mae for score in ranked], limits)]
        drawn += [draw(table, board.rules) for draw in (error_by_angle, size_error, training_curves)]
        figures = [html.svg(figure, f"board{number}-{place}") for place, figure in enumerate(drawn) if figure is not None]
    return {
        "board": board,
        "networks": len({score.network.key for score in board.scores}),
        "bodies": [body for body in (estimated, given) if body],
        "published": _published_on(board),
        "least": best[0].mae,
        "tolerance": disagreement.mae if disagreement else 0.0,
        "disagreement": f"{disagreement.words}, marked {WITHIN} (from the least error)." if disagreement else "",
        "bands": _bands([*estimated, *given]),
        "figures": figures,
        "examples": [
            found
            for score in best[:2]
            for run, name in score.tests[:1]
            for found in gallery.add(run.folder, name, score.network.label)
        ],
    }


def _bands(scores: Sequence[Score]) -> dict[str, Any]:
    """Errors by band of the label's |yaw|, and the rest of the mean rotation; empty where no run has recorded them."""
    faces = {band: max((score.bands[band][1] for score in scores if band in score.bands), default=0) for band in BANDS}
    shown = [band for band in BANDS if faces[band]]
    rows = [
        (
            score,
            [
                *(score.bands[band][0] if band in score.bands else DASH for band in shown),
                *map(score.measured.shown, ("aligned_geodesic", "offset_pitch")),
            ],
        )
        for score in scores
    ]
    return {"faces": {band: faces[band] for band in shown}, "rows": rows} if shown else {}


def _published_on(board: Board) -> list[dict[str, Any]]:
    """Printed means under the board's protocols, of the first table of each paper that has the data set; the least first.

    With what other authors printed of their networks on this board, by a protocol of their own. None where the labels or
    their frame are others than the papers'.
    """
    if not is_official(board.scores[0].measured.rules):
        return []
    tested = {
        ((entry.get("of_protocol") or {}).get("name"), name)
        for score in board.scores
        for (_, name), entry in zip(score.tests, score.entries, strict=True)
    }
    names = {name for _, name in tested}
    sets: set[str] = set()
    tables: dict[tuple[str, str], dict[str, str]] = {}
    for name in experiment_names():
        table = raw_experiment(name)["table"]
        for test_set, printed_name in table["test_sets"].items():
            sets |= {printed_name} if test_set in names else set()
            wanted = table.get("published", {})
            if wanted.get("table", "").startswith("Table") and any((part, test_set) in tested for part in family(name)):
                tables.setdefault((wanted["paper"], printed_name), {**wanted, "test_set": printed_name})
    others = {score.network.label for score in board.scores if score.network.label in OF_OTHERS.values()}
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in read_published(PUBLISHED):
        is_of_others = row["method"] in others and row["test_set"] in sets and row["train_set"] != row["test_set"]
        if row["mae"] and (is_of_others or any(wanted.items() <= row.items() for wanted in tables.values())):
            parts = [row["method"], *(f"{kind} {row[kind]}" for kind in ("aggregation", "scoring", "alpha") if row[kind])]
            key = tuple(_rounded(row[key], 1) for key in ("mae", *ANGLES))  # the papers print each other's numbers
            printed = {
                "label": ", ".join(parts),
                "method": row["method"],
                "errors": [_rounded(row[key]) for key in ("mae", *ANGLES)],
                "source": ", ".join(filter(None, (row["paper"], row["table"], row["note"]))),
                "words": [row["train_set"] or DASH, PROTOCOLS_OF_PAPERS.get(row["protocol"], row["protocol"])],
            }
            found.setdefault(key, printed)
    return sorted(found.values(), key=lambda row: float(row["errors"][0]))


def _rounded(printed: str, places: int = 2) -> str:
    """As on paper: halves away from zero."""
    return str(Decimal(printed).quantize(Decimal(10) ** -places, ROUND_HALF_UP)) if printed else DASH


def _perturbation_curves(scores: Sequence[Score]) -> Iterator[Markup]:
    """Error against what faces were put through, a figure for each kind and test."""
    for number, ((rules, kinds), lines) in enumerate(perturbations(scores).items()):
        names = {f"{kinds} {x:g}": x for values in lines.values() for x in sorted(values)}
        ranked = sorted(lines.values(), key=lambda values: min(score.mae for score in values.values()))[:MAX_LINES]
        rows = []
        for place, values in enumerate(ranked, start=1):  # a number keeps lines of one label apart
            row = next(iter(values.values())).row(place, letters=90)
            row.measured = {f"{kinds} {x:g}": score.measured for x, score in values.items()}
            rows.append(row)
        figure = Curve(kinds, names)(Table(rules, dict.fromkeys(names, rules), rows), next(iter(names)))
        if figure is not None:
            yield html.svg(figure, f"perturbed{number}")


def _experiments(pool: Mapping[str, list[Run]], gallery: Gallery, annotations: Annotations) -> dict[str, list[dict[str, Any]]]:
    """Tables of each experiment: one for each set of options that it was swept with and that finds other runs."""
    names = experiment_names()
    recorded = recorded_options((run for members in pool.values() for run in members), names)
    tables: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        relatives = {
            tuple(option for option in options if option.startswith("budget="))
            for other, known in recorded.items()
            if other is None or family(other) == family(name)
            for options in known
        }
        cells = [row["cell"] for row in raw_experiment(name)["table"]["rows"] if "cell" in row]
        found: dict[frozenset[tuple[Any, ...]], dict[str, Any]] = {}  # what a table shows to the table
        for options in sorted(recorded.get(name, set()) | relatives, key=lambda options: (-len(options), options)):
            given = [f"experiments={name}", *options]
            if not any(map(filter_of(given, pool), cells)):
                continue
            try:
                config = compose_training(given, "report")
                table = experiment_table(config, given, pool)
            except (InputError, HydraException, OmegaConfBaseException):
                continue  # options of a relative that this one has no place for
            shown = frozenset(
                (row.label, test, *row.checkpoints) for row in table.rows for test in row.measured if row.checkpoints
            )
            if shown and not any(shown <= other for other in found):
                annotations.annotate(table)
                keys = {run.folder: key[:12] for key, members in pool.items() for run in members}
                found[shown] = _experiment(name, options, config, table, keys, gallery)
        tables[name] = list(found.values())
    return tables


def _experiment(
    name: str, options: Sequence[str], config: Any, table: Table, keys: Mapping[Path, str], gallery: Gallery
) -> dict[str, Any]:
    """One table with its figures and, of each test set, the examples of the best network; `keys` of networks by folder."""
    remarks: list[str] = []
    figures = [html.svg(figure, f"{name}-{len(options)}-{key}") for key, figure in _drawn(config, table, remarks)]
    folders = {row.label: row.checkpoints[0].parents[1] for row in table.rows if row.checkpoints}
    examples = []
    for test_set in table.test_sets:
        if measured := [row for row in table.rows if test_set in row.measured and row.label in folders]:
            best = min(measured, key=lambda row: row.measured[test_set].mae)
            examples += gallery.add(folders[best.label], best.tested_as[test_set], best.label)
    return {
        "name": name,
        "options": " ".join(options),
        "table": table,
        "columns": table.columns(COLUMNS if len(table.test_sets) <= 2 else ("published", "last", "difference", "n")),
        "keys": {label: keys[folder] for label, folder in folders.items()},
        "command": sweep_command(name, options),
        "figures": figures,
        "remarks": remarks,
        "examples": examples,
    }


def family(name: str) -> tuple[str, ...]:
    """What experiments that can share trainings have in common: protocol and data."""
    defaults = [item for item in raw_experiment(name)["defaults"] if isinstance(item, dict)]
    return tuple(str(item[key]) for key in ("override /protocol", "override /data") for item in defaults if key in item)


def _drawn(config: Any, table: Table, remarks: list[str]) -> Iterator[tuple[str, Figure]]:
    """The experiment's own figures and, of the first test set that has them, curves; what cannot be drawn is a remark."""
    try:
        yield from draw_figures(config, table)
    except (InputError, HydraException) as error:  # a checkpoint or a data set that is no longer there
        remarks.append(f"Not all figures could be drawn: {error.__cause__ or error}".splitlines()[0])
    curves = (training_curves(table, test_set) for test_set in table.test_sets)
    if figure := next(filter(None, curves), None):
        yield "training", figure
