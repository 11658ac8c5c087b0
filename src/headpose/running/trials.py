"""A search over options: Optuna proposes, a cell of the pool trains, held-out faces decide; no test set is looked at."""

import csv
import logging
import math
import shlex
import time
from pathlib import Path
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from headpose.errors import InputError
from headpose.running.entry import one_line, output_dir, runs_dir
from headpose.running.experiments import compose_training
from headpose.running.identity import train_id
from headpose.running.pool import BUSY, finish_cell, is_running

log = logging.getLogger(__name__)

BUSY_SECONDS = 5.0
JUST_ASKED_SECONDS = 60.0


def run_search(config: DictConfig) -> optuna.Study:
    """Run trials until the study has `search.num_trials`.

    Raises:
        InputError: a space that cannot be searched, a study begun with other options, no validation, or not one good trial.
    """
    space = {str(key): distribution(str(key), str(value)) for key, value in (config.search.get("space") or {}).items()}
    if not space:
        raise InputError("search.space is empty; give options and their values, see conf/search/optimizer.yaml")
    study = _open_study(config, space)
    _give_back_lost_trials(study)
    while len(_counted(study)) < config.search.num_trials:
        _run_trial(study, space, config.search.metric)
    if not any(trial.state is TrialState.COMPLETE for trial in study.trials):
        reasons = [trial.user_attrs["reason"] for trial in study.trials if "reason" in trial.user_attrs]
        raise InputError(f"no trial of {study.study_name} came to its end; the last: {(reasons or ['unknown'])[-1]}")
    return study


def distribution(key: str, values: str) -> BaseDistribution:
    """Values of an option to choose from, in Hydra's grammar.

    Raises:
        InputError: it is neither a choice nor an interval.

    >>> distribution("optimizer.lr", "tag(log,interval(0.001,0.1))")
    FloatDistribution(high=0.1, log=True, low=0.001, step=None)
    >>> distribution("scoring", "conv,none")
    CategoricalDistribution(choices=('conv', 'none'))
    """
    try:
        override = OverridesParser.create().parse_override(f"{key}={values}")
        parsed = override.value()
        if isinstance(parsed, ChoiceSweep):
            return CategoricalDistribution(list(override.sweep_string_iterator()))
        if isinstance(parsed, IntervalSweep):
            low, high, in_log = parsed.start, parsed.end, "log" in parsed.tags
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=in_log)
            if low is not None and high is not None:
                return FloatDistribution(float(low), float(high), log=in_log)
    except (HydraException, ValueError) as error:
        raise InputError(f"search.space: {key}={values}: {' '.join(str(error).split())}") from error
    raise InputError(f"search.space: {key}={values} is no choice; give a,b,c or interval(low,high)")


def _given() -> list[str]:
    """Options of every trial."""
    return [text for text in HydraConfig.get().overrides.task if not text.lstrip("+~").startswith(("hydra", "search"))]


def _open_study(config: DictConfig, space: dict[str, BaseDistribution]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = output_dir()
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.create_study(study_name=config.search.name, storage=storage, load_if_exists=True)
    study.sampler = instantiate(config.search.sampler)(seed=config.seed + len(study.trials))
    study.pruner = instantiate(config.search.pruner)
    asked = {
        "options": sorted(_given()),
        "metric": config.search.metric,
        "space": {key: repr(values) for key, values in space.items()},
    }
    before = study.user_attrs.get("asked")
    if before is None:
        study.set_user_attr("asked", asked)
    elif before != asked:
        raise InputError(f"{folder}: this search was begun with other options, metric or space; choose another search.name")
    return study


def _give_back_lost_trials(study: optuna.Study) -> None:
    """Have the options of trials whose process died tried again first; their cells go on from their checkpoints."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        started = trial.datetime_start
        folder = trial.user_attrs.get("folder")
        just_asked = folder is None and started is not None and time.time() - started.timestamp() < JUST_ASKED_SECONDS
        if not just_asked and (folder is None or not is_running(runs_dir() / folder)):
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)


def _counted(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that are not merely waiting, or lost and waiting again."""
    return [
        trial
        for trial in study.trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING) or "reason" in trial.user_attrs
    ]


def _run_trial(study: optuna.Study, space: dict[str, BaseDistribution], metric: str) -> None:
    trial = study.ask(space)
    overrides = [*_given(), *_options(trial.params), "test=[]"]
    try:
        cell = compose_training(overrides)
        folder = runs_dir() / train_id(cell)
    except Exception as error:
        if (line := one_line(error)) is None:
            raise
        _fail(study, trial, line)
        return
    trial.set_user_attr("folder", folder.name)
    log.info("trial %d: %s", trial.number, " ".join(_options(trial.params)))
    watch = _Watch(trial, folder, metric)
    while (state := finish_cell(cell, folder, overrides, given_up=watch)).state == BUSY:
        time.sleep(BUSY_SECONDS)
    watch()
    if watch.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    elif state.state != "finished":
        _fail(study, trial, state.reason)
    elif watch.value is None:
        _fail(study, trial, f"no {metric} in {folder / 'metrics.csv'}")
        raise InputError(f"{folder / 'metrics.csv'}: no {metric}; hold faces out (data.val_fraction) or name its column")
    else:
        study.tell(trial, watch.value)


def _fail(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    log.warning("trial %d failed: %s", trial.number, reason)
    trial.set_user_attr("reason", reason)
    study.tell(trial, state=TrialState.FAIL)


class _Watch:
    """Hands a cell's epochs to the pruner as they come."""

    def __init__(self, trial: optuna.Trial, folder: Path, metric: str) -> None:
        self.trial, self.path, self.metric = trial, folder / "metrics.csv", metric
        self.value: float | None = None
        self.pruned = False
        self._seen = -1

    def __call__(self) -> str | None:
        """The reason to end the cell, if there is one."""
        for epoch, value in self._epochs():
            if epoch > self._seen and not self.pruned:
                self._seen, self.value = epoch, value
                self.trial.report(value, epoch)
                self.pruned = self.trial.should_prune()
        return f"unpromising after epoch {self._seen}" if self.pruned else None

    def _epochs(self) -> list[tuple[int, float]]:
        try:
            with self.path.open(newline="") as file:
                rows = [(row["epoch"], row.get(self.metric)) for row in csv.DictReader(file)]
            return [(int(epoch), float(value)) for epoch, value in rows if value and math.isfinite(float(value))]
        except (OSError, ValueError, KeyError):
            return []


def _options(params: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in params.items()]


def trial_rows(study: optuna.Study) -> list[dict[str, str]]:
    """Trials as plain rows, the best first, those that did not come to their end last."""

    def rank(trial: FrozenTrial) -> tuple[bool, float]:
        return trial.state is not TrialState.COMPLETE, trial.value if trial.value is not None else math.inf

    return [
        {
            "trial": str(trial.number),
            "state": {TrialState.COMPLETE: "finished"}.get(trial.state, trial.state.name.lower()),
            "value": "" if trial.value is None else f"{trial.value:.3f}",
            "folder": trial.user_attrs.get("folder", ""),
            "options": " ".join(_options(trial.params)),
            "reason": trial.user_attrs.get("reason", ""),
        }
        for trial in sorted(_counted(study), key=rank)
    ]


def write_trials(rows: list[dict[str, str]], folder: Path) -> Path:
    """Write the rows as trials.csv."""
    path = folder / "trials.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def best_command(study: optuna.Study) -> str:
    """The sweep of one cell that finds the best trial's training finished and only tests it."""
    return shlex.join(["python", "src/train.py", "-m", *_given(), *_options(study.best_params)])
