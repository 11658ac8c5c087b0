"""An experiment's file as a table: each row composed like a cell of its sweep, and looked up in the pool."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from headposekit.errors import InputError
from headposekit.geometry.conventions import EulerOrder
from headposekit.metrics import PoseError
from headposekit.paths import PUBLISHED
from headposekit.reporting.leaderboard import in_words
from headposekit.reporting.published import find_published, read_published
from headposekit.reporting.tables import Measured, Row, Table
from headposekit.sweeps.cells import (
    cell_overrides,
    key_of,
    quoted,
    recorded_cells,
    recorded_options,
    split_options,
    sweep_command,
)
from headposekit.sweeps.compose import compose_cell, experiment_names, raw_experiment
from headposekit.training.identity import absent_files, id_of_test, identity, learns
from headposekit.training.runs import Predictions, Run, fuse, read_predictions, seedless, with_pose


def asked_for() -> tuple[str | None, list[str]]:
    """The experiment that this command was given, and the options of its sweep (not those that are this command's own)."""
    chosen = HydraConfig.get()
    own = ("hydra", "wandb.")
    given = [option for option in chosen.overrides.task if not option.startswith(own)]
    return chosen.runtime.choices.get("experiments"), given


def experiment_table(config: DictConfig, given: Sequence[str], pool: Mapping[str, list[Run]]) -> Table:
    """Published beside measured numbers of an experiment.

    Args:
        config: composed with it.
        given: the options that the sweep was given; `experiments=` is one.
        pool: finished trainings, see `read_pool`.

    Raises:
        InputError: the experiment's file does not say what its table looks like, or a fusion names a row that is not there.
    """
    if not config.get("table"):
        raise InputError("the experiment's file has no `table:`; nothing to report")
    table: Any = OmegaConf.to_container(config.table)
    may_have_run = filter_of(given, pool)
    published = read_published(PUBLISHED)
    rows: list[Row] = []
    runs: dict[str, tuple[DictConfig | None, list[Run]]] = {}
    missing: list[str] = []
    unmatched: dict[str, dict[str, None]] = {}  # list files that are not here, and of what
    for entry in table["rows"]:
        row = Row(entry["label"], line=entry.get("line"), x=entry.get("x"))
        if "cell" in entry:
            cell = compose_cell(entry["cell"], given) if may_have_run(entry["cell"]) else None
            found = [] if cell is None else pool.get(seedless(identity(cell)), [])
            runs[row.label] = cell, found
            row.size_mb = (found[0].results["size_mb"] or None) if found else None
            row.solver = in_words(cell.model.solver) if cell is not None and "solver" in cell.model else None
            row.checkpoints = [run.folder / "checkpoints" / "last.ckpt" for run in found]
        members = [*entry.get("fuse", ()), *entry.get("mean", ())]
        if unknown := set(members) - set(runs):
            raise InputError(f"row {row.label} is made of {sorted(unknown)[0]}, which is no row before it")
        for name, printed_name in table["test_sets"].items():
            if "published" in entry:
                wanted = {**table["published"], "test_set": printed_name, **entry["published"]}
                printed = find_published(published, **wanted)
                row.published |= {name: printed} if printed else {}
            test_set = entry.get("test_set", name)  # a row may be about a test set of its own
            if "cell" in entry or "fuse" in entry:
                row.tested_as[name] = test_set
            if row.label in runs:
                _fill(row, name, test_set, *runs[row.label])
            if "fuse" in entry:
                _fill_fused(row, name, test_set, [runs[label] for label in members])
            if "mean" in entry:
                _fill_mean(row, name, [other for other in rows if other.label in members])
            if name not in row.measured:
                trained = [row.label] if row.label in runs else entry.get("fuse", ())
                lists = [part for label in trained for part in _absent_lists(test_set, *runs[label])] if pool else []
                for file, of in lists:
                    unmatched.setdefault(file, {})[of] = None
                if row.label in runs and not lists:
                    missing.append(row.label)
        rows.append(row)
    said = [f"The list {file} is not here, so runs on {', '.join(of)} cannot be matched." for file, of in unmatched.items()]
    return Table(table["title"], table["test_sets"], rows, list(dict.fromkeys(missing)), [" ".join(said)] if said else [])


def still_missing(name: str, config: DictConfig, given: Sequence[str], table: Table, runs: Iterable[Run]) -> list[str]:
    """What to say to someone who wants a table that lacks rows; nothing where it lacks none.

    Args:
        name: of the experiment.
        config: composed with it.
        given: the options that the table was made with.
        table: the one that lacks rows.
        runs: in the pool.
    """
    if not table.missing:
        return []
    own = set(split_options(given, config.table)[1])
    recorded = recorded_options(runs, [name]).get(name, set())
    others = sorted(" ".join(map(quoted, known)) or "no options" for known in recorded if set(known) != own)
    command = sweep_command(name, [option for option in given if not option.startswith("experiments=")])
    return [
        f"Missing: {'; '.join(table.missing)}; `{command}` goes on with them",
        *(f"the pool has it with {known}" for known in others if known.isprintable()),  # anybody may have written it
    ]


def filter_of(given: Sequence[str], pool: Mapping[str, list[Run]]) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a row's cell may be in the pool, by what runs have recorded: composing each cell only to miss it takes long."""
    name = next((option.partition("=")[2] for option in given if option.startswith("experiments=")), None)
    fixed = {key_of(option) for option in given}
    known: set[frozenset[tuple[str, str]]] = set()
    for run in (run for members in pool.values() for run in members):
        entries = list(recorded_cells(run))
        if not entries:  # of an older version, which recorded nothing
            return lambda cell: True
        known |= {frozenset(_choices(other, [*cell, *options]).items()) for other, cell, options in entries}

    def may_have_run(cell: Mapping[str, Any]) -> bool:
        ours = {key: value for key, value in _choices(name, cell_overrides(cell)).items() if key not in fixed}
        if ours.get("model") == "landmarks":  # data and protocol do not count where nothing is learned
            ours = {key: value for key, value in ours.items() if key not in ("protocol", "data")}
        return any(all(ours.get(key, value) == value for key, value in theirs) for theirs in known)

    return may_have_run


def _choices(name: str | None, options: Iterable[str]) -> dict[str, str]:
    """What an experiment's defaults and the options choose; where nothing chooses the network, it is FSA-Net."""
    defaults = raw_experiment(name)["defaults"] if name in experiment_names() else []
    chosen = {"model": "fsanet"} if name is None or defaults else {}
    for entry in defaults:
        chosen |= (
            {key.removeprefix("override /"): str(value) for key, value in entry.items()} if isinstance(entry, dict) else {}
        )
    chosen |= {key_of(option): option.partition("=")[2] for option in options}
    return {key: _normal(value) for key, value in chosen.items() if not key.startswith("test")}


def _normal(value: str) -> str:
    """The same text for 1, 1.0 and for true, True."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.lower()


def _tested(config: DictConfig | None, runs: list[Run], name: str) -> list[Run]:
    wanted = id_of_test(config, name) if config is not None and name in config.test else None
    return [run for run in runs if wanted and run.results["test"].get(name, {}).get("test_id") == wanted]


def _fill(row: Row, name: str, test_set: str, config: DictConfig | None, runs: list[Run]) -> None:
    """Enter into the column `name` what a training's repetitions measured on a test set."""
    tested = _tested(config, runs, test_set)
    if not tested:
        return
    entries = [run.results["test"][test_set] for run in tested]
    best = [entry["best"] for entry in entries if "best" in entry]
    row.measured[name] = _measured(tested, test_set, [entry["last"] for entry in entries], best)
    row.predictions[name] = [part for run in tested if (part := read_predictions(run, test_set)) is not None]


def _absent_lists(test_set: str, config: DictConfig | None, runs: list[Run]) -> Iterator[tuple[str, str]]:
    """List files that are not here, which keeps runs from being found, or their tests; with what each is the list of."""
    if config is None:
        return
    if learns(config):
        yield from ((Path(path).name, "the training set") for path in absent_files(config.data))
    if test_set in config.test and any(test_set in run.results["test"] for run in runs):
        yield from ((Path(path).name, test_set) for path in absent_files(config.test[test_set]))


def _fill_mean(row: Row, name: str, members: list[Row]) -> None:
    """Enter the mean of rows, each a split of the same data (its seeds taken together); nothing if one is missing."""
    measured = [member.measured[name] for member in members if name in member.measured]
    if len(measured) < len(members):
        return
    row.measured[name] = Measured(
        tuple({key: fmean(seed[key] for seed in part.last) for key in part.last[0]} for part in measured),
        (),
        sum(part.n for part in measured),
        {**measured[0].rules, "part_seed": None, "splits": len(measured)},
        measured[0].crop,
        tuple(sorted({commit for part in measured for commit in part.commits})),
    )


def _fill_fused(row: Row, name: str, test_set: str, members: list[tuple[DictConfig | None, list[Run]]]) -> None:
    """Enter the late fusion of several trainings, seed by seed, from their prediction files; nothing if one is missing."""
    by_seed = [{run.seed: run for run in _tested(config, runs, test_set)} for config, runs in members]
    together: list[Predictions] = []
    used: list[Run] = []
    for seed in sorted(set.intersection(*(set(runs) for runs in by_seed))):
        parts = [read_predictions(runs[seed], test_set) for runs in by_seed]
        fused = fuse([part for part in parts if part is not None]) if None not in parts else None
        if fused:
            together.append(fused)
            used += [runs[seed] for runs in by_seed]
    if together:
        config = members[0][0]
        assert config is not None  # else nothing of it would be in the pool
        order = config.test[test_set].get("euler_order", "ypr")
        row.measured[name] = _measured(used, test_set, [errors_of(fused, order) for fused in together], [])
        row.predictions[name] = together


def _measured(runs: list[Run], test_set: str, last: list[dict[str, float]], best: list[dict[str, float]]) -> Measured:
    entry = runs[0].results["test"][test_set]
    commits = tuple(sorted({str(run.results["commit"]) for run in runs}))
    without_pose = max(run.results["test"][test_set].get("without_pose", 0) for run in runs)
    return Measured(tuple(last), tuple(best), entry["n"], entry["rules"], entry["crop"], commits, without_pose)


def draw_figures(config: DictConfig, table: Table) -> Iterator[tuple[str, Figure]]:
    """Each of `config.figures` for each test set, with its name; those with something to show."""
    for figure_name, figure_config in config.figures.items():
        if figure_config is None:  # an experiment that has no use for it
            continue
        draw = instantiate(figure_config, _convert_="all")
        for test_set in table.test_sets:
            figure = draw(table, test_set)
            if figure is not None:
                yield f"{figure_name}_{test_set}", figure


def errors_of(predictions: Predictions, euler_order: EulerOrder = "ypr") -> dict[str, float]:
    """What `PoseError` computes of predictions, as plain numbers."""
    metric = PoseError(euler_order)
    pairs = with_pose(predictions).values()
    true, predicted = (torch.tensor(np.stack([pair[part] for pair in pairs])) for part in (0, 1))
    metric.update(predicted, true)
    return {key: value.item() for key, value in metric.compute().items()}
