"""An experiment's file as a table: each row composed like a cell of its sweep, and looked up in the pool."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from headposekit.errors import InputError
from headposekit.geometry.conventions import ALIGNED, ERRORS, EulerOrder
from headposekit.metrics import PoseError, aligned_errors
from headposekit.paths import PUBLISHED
from headposekit.reporting.leaderboard import in_words
from headposekit.reporting.published import find_published, read_published
from headposekit.reporting.tables import Measured, Row, Table, measure, poses_of
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
from headposekit.training.rules import is_official
from headposekit.training.runs import Predictions, Run, fuse, read_predictions, seedless


class Trained(NamedTuple):
    """The training that a row's cell means and its runs; neither where no run of the pool can be one."""

    config: DictConfig | None = None
    runs: Sequence[Run] = ()

    def tested_on(self, name: str) -> list[Run]:
        """Those of the runs that were tested on the very test set that the configuration has under this name."""
        if self.config is None or name not in self.config.test:
            return []
        wanted = id_of_test(self.config, name)
        return [run for run in self.runs if run.results["test"].get(name, {}).get("test_id") == wanted]

    def absent_lists(self, name: str) -> Iterator[tuple[str, str]]:
        """List files that are not here, which keeps runs from being found, or their tests; with what each is the list of."""
        if self.config is not None and learns(self.config):
            yield from ((Path(path).name, "the training set") for path in absent_files(self.config.data))
        if self.config is not None and name in self.config.test and any(name in run.results["test"] for run in self.runs):
            yield from ((Path(path).name, name) for path in absent_files(self.config.test[name]))


def asked_for() -> tuple[str | None, list[str]]:
    """The experiment that this command was given, and the options of its sweep (not those that are this command's own)."""
    chosen = HydraConfig.get()
    given = [option for option in chosen.overrides.task if not option.startswith(("hydra", "wandb.", "annotations="))]
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
    rows: dict[str, Row] = {}
    trained: dict[str, Trained] = {}
    missing: dict[str, None] = {}
    absent: dict[str, dict[str, None]] = {}  # list files that are not here, and of what
    for entry in table["rows"]:
        row = rows[entry["label"]] = Row(entry["label"], line=entry.get("line"), x=entry.get("x"), note=entry.get("note"))
        if "cell" in entry:
            own = Trained()
            if may_have_run(entry["cell"]):
                cell = compose_cell(entry["cell"], given)
                own = Trained(cell, pool.get(seedless(identity(cell)), ()))
                row.solver = in_words(cell.model.solver) if "solver" in cell.model else None
            trained[row.label] = own
            row.size_mb = (own.runs[0].results["size_mb"] or None) if own.runs else None
            row.checkpoints = [run.folder / "checkpoints" / "last.ckpt" for run in own.runs]
        if unknown := {*entry.get("fuse", ()), *entry.get("mean", ())} - set(trained):
            raise InputError(f"row {row.label} is made of {sorted(unknown)[0]}, which is no row before it")
        members = [row.label] if "cell" in entry else entry.get("fuse", ())
        for name, printed_name in table["test_sets"].items():
            if "published" in entry:
                wanted = {**table["published"], "test_set": printed_name, **entry["published"]}
                printed = find_published(published, **wanted)
                row.published |= {name: printed} if printed else {}
            test_set = entry.get("test_set", name)  # a row may be about a test set of its own
            if members:
                row.tested_as[name] = test_set
            if "mean" in entry:
                measured = _mean([rows[label].measured.get(name) for label in entry["mean"]])
            elif "fuse" in entry:
                measured = _fused(test_set, [trained[label] for label in members])
            else:
                tests = [(run, test_set) for label in members for run in trained[label].tested_on(test_set)]
                measured = measure(tests) if tests else None
            if measured:
                row.measured[name] = measured
                continue
            lists = [found for label in members for found in trained[label].absent_lists(test_set)] if pool else []
            for file, of in lists:
                absent.setdefault(file, {})[of] = None
            if "cell" in entry and not lists:
                missing[row.label] = None
    said = [f"The list {file} is not here, so runs on {', '.join(of)} cannot be matched." for file, of in absent.items()]
    remarks = [" ".join(said)] if said else []
    for name, printed_name in table["test_sets"].items():
        if not all(is_official(row.measured[name].rules) for row in rows.values() if name in row.measured):
            for row in rows.values():
                row.published.pop(name, None)
            remarks.append(f"{printed_name}: papers have other labels or another frame, so their numbers are left out.")
    return Table(table["title"], table["test_sets"], [*rows.values()], [*missing], remarks)


def _mean(parts: Sequence[Measured | None]) -> Measured | None:
    """The mean of rows, each a split of the same data (its seeds taken together); None where one is missing."""
    measured = [part for part in parts if part is not None]
    if len(measured) < len(parts):
        return None
    return Measured(
        tuple(
            {
                key: fmean(seed[key] for seed in part.last)
                for key in (*ERRORS, *ALIGNED)
                if all(key in seed for seed in part.last)
            }
            for part in measured
        ),
        (),
        sum(part.n for part in measured),
        {**measured[0].rules, "part_seed": None, "splits": len(measured)},
        measured[0].crop,
        tuple(sorted({commit for part in measured for commit in part.commits})),
    )


def _fused(test_set: str, members: Sequence[Trained]) -> Measured | None:
    """The late fusion of several trainings, seed by seed, from their prediction files; None where one is missing."""
    by_seed = [{run.seed: run for run in member.tested_on(test_set)} for member in members]
    together: list[Predictions] = []
    used: list[tuple[Run, str]] = []
    for seed in sorted(set.intersection(*map(set, by_seed))):
        tests = [(runs[seed], test_set) for runs in by_seed]
        parts = [part for test in tests if (part := read_predictions(*test)) is not None]
        if len(parts) == len(tests) and (fused := fuse(parts)):
            together.append(fused)
            used += tests
    if not together or members[0].config is None:
        return None
    order = members[0].config.test[test_set].get("euler_order", "ypr")
    last = tuple(errors_of(fused, order) for fused in together)
    return replace(measure(used), last=last, best=(), read=lambda: together)


def errors_of(predictions: Predictions, euler_order: EulerOrder = "ypr") -> dict[str, float]:
    """What `PoseError` computes of predictions and, in the usual angles, `aligned_errors`, as plain numbers."""
    metric = PoseError(euler_order)
    true, predicted = torch.tensor(poses_of(predictions))
    known = predicted.isfinite().all(dim=-1)
    metric.update(predicted[known], true[known])
    errors = {key: value.item() for key, value in metric.compute().items()}
    return errors | (aligned_errors(predicted[known], true[known]) if euler_order == "ypr" else {})


def still_missing(name: str, config: DictConfig, given: Sequence[str], table: Table, runs: Iterable[Run]) -> list[str]:
    """What to say to someone who wants a table that lacks rows, made with these options; nothing where it lacks none."""
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
        known |= {_choices(other, (*cell, *options)) for other, cell, options in entries}

    def may_have_run(cell: Mapping[str, Any]) -> bool:
        own = {key: value for key, value in _choices(name, tuple(cell_overrides(cell))) if key not in fixed}
        if own.get("model") == "landmarks":  # data and protocol do not count where nothing is learned
            own = {key: value for key, value in own.items() if key not in ("protocol", "data")}
        return any(all(own.get(key, value) == value for key, value in choices) for choices in known)

    return may_have_run


@functools.cache
def _choices(name: str | None, options: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """What an experiment's defaults and the options choose; where nothing chooses the network, it is FSA-Net."""
    defaults = raw_experiment(name)["defaults"] if name in experiment_names() else []
    chosen = {"model": "fsanet"} if name is None or defaults else {}
    for entry in defaults:
        if isinstance(entry, dict):
            chosen |= {key.removeprefix("override /"): str(value) for key, value in entry.items()}
    chosen |= {key_of(option): option.partition("=")[2] for option in options}
    return frozenset((key, _normal(value)) for key, value in chosen.items() if not key.startswith("test"))


def _normal(value: str) -> str:
    """The same text for 1, 1.0 and for true, True."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.lower()


def draw_figures(config: DictConfig, table: Table) -> Iterator[tuple[str, Figure]]:
    """Each of `config.figures` for each test set, with its name; those with something to show."""
    for figure_name, figure_config in config.figures.items():
        if figure_config is None:  # an experiment that has no use for it
            continue
        draw = instantiate(figure_config, _convert_="all")
        for test_set in table.test_sets:
            if (figure := draw(table, test_set)) is not None:
                yield f"{figure_name}_{test_set}", figure
