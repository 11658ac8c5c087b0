"""The page of everything: what the pool holds, gathered for `reporting/templates/report.html`."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from hydra.errors import HydraException
from markupsafe import Markup
from matplotlib.figure import Figure
from omegaconf.errors import OmegaConfBaseException

from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLES
from headposekit.paths import PUBLISHED, runs_dir, typed
from headposekit.reporting import html
from headposekit.reporting.experiments import draw_figures, experiment_table, filter_of
from headposekit.reporting.figures import Curve, error_by_angle, ranking, size_error, training_curves
from headposekit.reporting.leaderboard import Board, Network, Score, boards, networks, perturbations, score
from headposekit.reporting.published import read_published
from headposekit.reporting.tables import DASH, Table, mean_and_std
from headposekit.sweeps.cells import recorded_options, sweep_command
from headposekit.sweeps.compose import compose_training, experiment_names, raw_experiment
from headposekit.sweeps.resolvers import register_resolvers
from headposekit.training.results import commit
from headposekit.training.rules import describe_rules
from headposekit.training.runs import Run, pool_of, read_runs, seedless

MAX_EXAMPLES, MAX_DRAWN_BOARDS, MAX_RANKED, MAX_LINES = 60, 4, 15, 8
MAX_PROCESSES = 4
PROTOCOLS_OF_PAPERS = {"P1": "FSA-Net's protocol 1", "P2": "FSA-Net's protocol 2"}


@dataclass
class Gallery:
    """Example grids, each shown once, no more than the page can bear."""

    shown: set[tuple[Path, str]] = field(default_factory=set)
    left_out: int = 0

    def add(self, run: Run, test_set: str, label: str) -> list[tuple[str, str]]:
        """Caption and data URI of a run's grid; none where it is not there, shown already, or one too many."""
        if (run.folder, test_set) in self.shown:
            return []
        path = run.folder / f"examples_{test_set}.png"
        if len(self.shown) >= MAX_EXAMPLES:
            self.left_out += path.is_file()
            return []
        try:
            picture = html.jpeg_of_file(path, 800)
        except InputError:
            return []
        self.shown.add((run.folder, test_set))
        return [(f"{label}, {test_set}", picture)]


def write_overview(path: Path) -> tuple[Path, str]:
    """Write the page of all that has run.

    Args:
        path: of the page.

    Returns:
        the page, and what is in it, in words.

    Raises:
        InputError: nothing has run.
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
    tables = dict(_experiments(runs))  # before any arithmetic starts threads, which a forked process would wait for
    all_boards = boards(scores)
    shown_boards = [_board(board, number, gallery) for number, board in enumerate(all_boards)]
    curves = list(_perturbation_curves(scores))
    experiments = [one for shown_tables in tables.values() for one in shown_tables]
    for one in experiments:
        one["examples"] = [found for wanted in one["examples"] for found in gallery.add(*wanted)]
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
        curves=curves,
        experiments=experiments,
        missing=[
            {"title": raw_experiment(name)["table"]["title"], "command": f"{typed('train')} -m experiments={name}"}
            for name, found in tables.items()
            if not found
        ],
        networks=[_network(network) for network in sorted(nets, key=lambda one: one.label)],
        left_out=[(name, _public("; ".join(reasons))) for name, reasons in sorted(left_out.items())],
        examples_left_out=gallery.left_out,
        drawn_boards=MAX_DRAWN_BOARDS,
    )
    return path, f"{summary}, {len(experiments)} tables, {len(left_out)} folders left out"


def _board(board: Board, number: int, gallery: Gallery) -> dict[str, Any]:
    """A leaderboard: rows, published numbers of the same data set, figures of the best."""
    given = [one for one in board.scores if one.network.knows_the_truth]
    estimated = [one for one in board.scores if not one.network.knows_the_truth]
    drawn_of = estimated or given
    best, ranked, published = drawn_of[:MAX_LINES], drawn_of[:MAX_RANKED], _published_on(board)
    title = f"{board.rules}, {board.n:,} faces"
    figures: list[Markup] = []
    if len(ranked) > 1 and number < MAX_DRAWN_BOARDS:
        rows = [one.row(place) for place, one in enumerate(best, start=1)]
        name = f"Best {len(best)} networks" if len(best) < len(drawn_of) else "Networks"
        table = Table(name, {board.rules: title}, rows)
        limits, labels = np.array([one.interval for one in ranked]), [one.label(n, 84) for n, one in enumerate(ranked, start=1)]
        drawn: list[Figure | None] = [ranking(title, labels, [one.mae for one in ranked], limits)]
        drawn += [draw(table, board.rules) for draw in (error_by_angle, size_error, training_curves)]
        figures = [html.svg(figure, f"board{number}-{place}") for place, figure in enumerate(drawn) if figure is not None]
    return {
        "rules": board.rules,
        "n": board.n,
        "networks": len({one.network.key for one in board.scores}),
        "bodies": [[_score(one) for one in body] for body in (estimated, given) if body],
        "published": published,
        "numbers": html.aligned([*map(_numbers, [*estimated, *given]), *(row.pop("numbers") for row in published)]),
        "figures": figures,
        "examples": [found for one in best[:2] for found in gallery.add(one.runs[0], one.test_sets[0], one.network.label)],
    }


def _score(one: Score) -> dict[str, Any]:
    protocols = [entry.get("of_protocol") or {} for entry in one.entries]
    names = {
        f"{entry.get('name')}{'' if entry.get('complete') is not False else ' (not all faces)'}" for entry in protocols if entry
    }
    network = one.network
    tag = "published weights" if network.is_published else "from true landmarks" if network.knows_the_truth else ""
    cut = [*sorted(names), *([f"box {one.box}"] if one.box else []), f"crop {one.crop}"]
    trained_on = str(one.runs[0].results["train"].get("dataset") or DASH)
    return {
        "label": network.label,
        "odd": _public(one.odd),
        "key": network.key,
        "tag": tag,
        "words": [trained_on, ", ".join(cut)],
    }


def _numbers(one: Score) -> list[str]:
    last, (low, high), without = one.measured.last, one.interval, one.measured.without_pose
    results = one.runs[0].results
    return [
        mean_and_std([errors["mae"] for errors in last]),
        f"{low:.2f} to {high:.2f}",
        *(mean_and_std([errors[key] for errors in last]) for key in ("yaw", "pitch", "roll", "geodesic")),
        str(len(last)),
        f"{len(one.errors) - without} of {len(one.errors)}" if without else f"{len(one.errors):,}",
        f"{results['params']:,}" if results["params"] else DASH,
        str(results["train"].get("epochs") or DASH),
    ]


def _published_on(board: Board) -> list[dict[str, Any]]:
    """Printed means under the board's protocols, of the first table of each paper that has the data set; the least first."""
    tested = {
        ((entry.get("of_protocol") or {}).get("name"), name)
        for one in board.scores
        for name, entry in zip(one.test_sets, one.entries, strict=True)
    }
    tables: dict[tuple[str, str], dict[str, str]] = {}
    for name in experiment_names():
        raw = raw_experiment(name)
        for test_set, printed_name in raw["table"]["test_sets"].items():
            wanted = raw["table"].get("published", {})
            if wanted.get("table", "").startswith("Table") and any((part, test_set) in tested for part in family(name)):
                tables.setdefault((wanted["paper"], printed_name), {**wanted, "test_set": printed_name})
    rows = [
        row for row in read_published(PUBLISHED) for wanted in tables.values() if row["mae"] and wanted.items() <= row.items()
    ]
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        parts = [row["method"], *(f"{kind} {row[kind]}" for kind in ("aggregation", "scoring", "alpha") if row[kind])]
        errors = [_rounded(row[key]) for key in ("mae", *ANGLES)]
        source = ", ".join([row["paper"], row["table"], *([row["note"]] if row["note"] else [])])
        words = [row["train_set"] or DASH, PROTOCOLS_OF_PAPERS.get(row["protocol"], row["protocol"])]
        numbers = [errors[0], DASH, *errors[1:], *[DASH] * 5]
        key = tuple(_rounded(row[key], 1) for key in ("mae", *ANGLES))  # the papers print each other's numbers
        found.setdefault(key, {"label": ", ".join(parts), "numbers": numbers, "source": source, "words": words})
    return sorted(found.values(), key=lambda row: float(row["numbers"][0]))


def _rounded(printed: str, places: int = 2) -> str:
    """As on paper: halves away from zero."""
    return str(Decimal(printed).quantize(Decimal(10) ** -places, ROUND_HALF_UP)) if printed else DASH


def _perturbation_curves(scores: Sequence[Score]) -> Iterator[Markup]:
    """Error against what faces were put through, a figure for each kind and test."""
    for number, ((rules, kinds), lines) in enumerate(perturbations(scores).items()):
        names = {f"{kinds} {x:g}": x for values in lines.values() for x in sorted(values)}
        ranked = sorted(lines.values(), key=lambda values: min(one.mae for one in values.values()))[:MAX_LINES]
        rows = []
        for place, values in enumerate(ranked, start=1):  # a number keeps lines of one label apart
            parts = {f"{kinds} {x:g}": one.row(place, letters=90) for x, one in values.items()}
            row = next(iter(parts.values()))
            row.measured = {
                name: part.measured[one.rules] for (name, part), one in zip(parts.items(), values.values(), strict=True)
            }
            row.predictions = {
                name: part.predictions[one.rules] for (name, part), one in zip(parts.items(), values.values(), strict=True)
            }
            rows.append(row)
        figure = Curve(kinds, names)(Table(rules, dict.fromkeys(names, rules), rows), next(iter(names)))
        if figure is not None:
            yield html.svg(figure, f"perturbed{number}")


def _experiments(runs: Sequence[Run]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Name and tables of each experiment, none where nothing of it has run, made in processes side by side."""
    pool = pool_of(runs)
    names = experiment_names()
    recorded = recorded_options((run for members in pool.values() for run in members), names)
    candidates = {}
    for name in names:
        relatives = {
            tuple(option for option in options if option.startswith("budget="))
            for other, known in recorded.items()
            if other is None or family(other) == family(name)
            for options in known
        }
        candidates[name] = sorted(recorded.get(name, set()) | relatives, key=lambda options: (-len(options), options))
    with ProcessPoolExecutor(min(MAX_PROCESSES, os.cpu_count() or 1), initializer=register_resolvers) as processes:
        yield from zip(candidates, processes.map(partial(_tables, pool), *zip(*candidates.items(), strict=True)), strict=True)


def _tables(pool: Mapping[str, list[Run]], name: str, candidates: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """An experiment's tables: one for each set of options that it was swept with and that finds other runs."""
    by_folder = {run.folder: run for members in pool.values() for run in members}
    shown: list[dict[str, Any]] = []
    proofs: list[set[tuple[str, str, Path]]] = []
    cells = [row["cell"] for row in raw_experiment(name)["table"]["rows"] if "cell" in row]
    for options in candidates:
        given = [f"experiments={name}", *options]
        if not any(map(filter_of(given, pool), cells)):
            continue
        try:
            config = compose_training(given, "report")
            table = experiment_table(config, given, pool)
        except (InputError, HydraException, OmegaConfBaseException):
            continue  # options of a relative that this one has no place for
        folders = {row.label: [path.parents[1] for path in row.checkpoints] for row in table.rows}
        proof = {
            (row.label, test_set, folder) for row in table.rows for test_set in row.measured for folder in folders[row.label]
        }
        if proof and not any(proof <= other for other in proofs):
            proofs.append(proof)
            runs = {label: [by_folder[folder] for folder in paths] for label, paths in folders.items()}
            shown.append(_experiment(name, options, config, table, runs))
    return shown


def family(name: str) -> tuple[str, ...]:
    """What experiments that can share trainings have in common: protocol and data."""
    defaults = [item for item in raw_experiment(name)["defaults"] if isinstance(item, dict)]
    return tuple(str(item[key]) for key in ("override /protocol", "override /data") for item in defaults if key in item)


def _drawn(config: Any, table: Table, remarks: list[str]) -> Iterator[tuple[str, Figure]]:
    try:
        yield from draw_figures(config, table)
    except (InputError, HydraException) as error:  # a checkpoint or a data set that is no longer there
        remarks.append(_public(f"Not all figures could be drawn: {error.__cause__ or error}".splitlines()[0]))
    for test_set in table.test_sets:
        curves = training_curves(table, test_set)
        if curves is not None:
            yield "training", curves
            return


def _experiment(name: str, options: Sequence[str], config: Any, table: Table, runs: Mapping[str, list[Run]]) -> dict[str, Any]:
    """One table with its figures, what is missing and, of each test set, the run whose examples to show."""
    columns = None if len(table.test_sets) <= 2 else ("published", "last", "difference", "n")
    header, body, notes = table.cells(columns)
    fixed = next(
        place for place, cell in enumerate(header) if any(cell.startswith(f"{test} ") for test in table.test_sets.values())
    )
    width = (len(header) - fixed) // len(table.test_sets)
    remarks: list[str] = []
    figures = [html.svg(figure, f"{name}-{len(options)}-{key}") for key, figure in _drawn(config, table, remarks)]
    examples = []
    for test_set in table.test_sets:
        measured = [row for row in table.rows if test_set in row.measured and runs[row.label]]
        if measured:
            best = min(measured, key=lambda row: fmean(errors["mae"] for errors in row.measured[test_set].last))
            examples.append((runs[best.label][0], test_set, best.label))
    return {
        "name": name,
        "title": table.title,
        "options": _public(" ".join(options)),
        "fixed": header[:fixed],
        "groups": [
            (test, [cell.removeprefix(f"{test} ") for cell in header[fixed + width * place : fixed + width * (place + 1)]])
            for place, test in enumerate(table.test_sets.values())
        ],
        "anchors": [seedless(runs[line[0]][0].results["config"])[:12] if runs[line[0]] else None for line in body],
        "labels": [line[0] for line in body],
        "numbers": html.aligned([line[1:] for line in body]),
        "notes": notes,
        "provenance": table.provenance(),
        "absent": table.missing,
        "command": _public(sweep_command(name, options)),
        "figures": figures,
        "remarks": remarks,
        "examples": examples,
    }


def _network(network: Network) -> dict[str, Any]:
    """Configuration and provenance of all its runs."""
    first = network.runs[0].results
    config = {key: value for key, value in first["config"].items() if key != "seed"}
    train = first.get("train", {})
    runs = [
        [
            run.folder.name,
            str(run.results["config"].get("seed", DASH)),
            str(run.results["commit"] or DASH),
            str(run.results["train"].get("n", DASH)),
            str(run.results["train"].get("split_hash", DASH)),
            "; ".join(
                f"{name}: {describe_rules(entry['rules'])}, crop {entry['crop']}, {entry['n']:,} faces"
                for name, entry in run.results["test"].items()
            ),
        ]
        for run in network.runs
    ]
    return {
        "key": network.key,
        "label": network.label,
        "params": first["params"],
        "epochs": train.get("epochs"),
        "trained_on": describe_rules(train["rules"]) if "rules" in train else train.get("dataset"),
        "versions": ", ".join(f"{package} {version}" for package, version in first["versions"].items()),
        "runs": runs,
        "config": _public(json.dumps(config, indent=1)),
    }


def _public(text: str) -> str:
    """Without the folders of this machine."""
    return re.sub(r"(?<![\w.<])/(?:[^\s/:;,'\"\]]+/)+", "DIR/", text)
