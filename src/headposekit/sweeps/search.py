"""A search over options: Optuna proposes, a cell of the pool trains, held-out faces decide; no test set is looked at."""

import contextlib
import csv
import logging
import math
import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import optuna
import yaml
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

from headposekit.errors import InputError
from headposekit.files import cannot_write, replacing, write_text
from headposekit.paths import IS_INSTALLED, ROOT, output_dir, runs_dir, typed
from headposekit.sweeps.compose import compose_training
from headposekit.sweeps.folders import SWEEP, hold
from headposekit.sweeps.pool import finish_cell
from headposekit.training.identity import differences, learns, train_id
from headposekit.training.runs import read_metrics

log = logging.getLogger(__name__)

BUSY_SECONDS = 5.0
SEED_STEP = 1_000_003
GIVEN_BACK = "again"
"""Attribute of a trial that repeats a lost one: its number."""
REFUSED = "refused"
"""Attribute of a trial that failed before any had come to its end: the reason."""


def run_search(config: DictConfig) -> optuna.Study:
    """Run trials until the study has `search.num_trials`; wait for those that other searches are at.

    Raises:
        InputError: a model that learns nothing, a space that cannot be searched, a study begun with other options, no
            validation, a failure before any trial has come to its end, or all pruned.
    """
    if not learns(config):
        name = config.model._target_.rsplit(".")[-1]
        raise InputError(f"a search needs something to learn, and {name} learns nothing; compare its options by train.py -m")
    space = search_space(config)
    folder = output_dir()
    os.environ[SWEEP] = str(config.search.name)  # the trials' processes inherit it
    try:
        study = _open_study(config, space)
        while True:
            with _own_trial(study, config, space, folder) as trial:
                if trial is not None:
                    _run_trial(study, trial, config.search.metric)
                    continue
            if not study.get_trials(states=(TrialState.RUNNING,)):
                break
            time.sleep(BUSY_SECONDS)  # others are at the last ones; should they die, the trials are ours
    except OSError as error:
        if error.filename is not None:
            raise
        raise cannot_write(folder / "journal.log", error) from error  # Optuna's, which says no name
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        raise InputError(f"{folder}: every trial was pruned; loosen search.pruner under another search.name")
    (folder / "failed.json").unlink(missing_ok=True)
    return study


def search_space(config: DictConfig) -> dict[str, BaseDistribution]:
    """Option to its values; refuses what would make every trial fail, before the study knows of any."""
    space = {str(key): distribution(str(key), str(value)) for key, value in (config.search.get("space") or {}).items()}
    if not space:
        raise InputError("search.space is empty; give options and their values, see conf/search/optimizer.yaml")
    first = {  # a value of each
        key: values.choices[0] if isinstance(values, CategoricalDistribution) else values.low  # type: ignore[attr-defined]
        for key, values in space.items()
    }
    cell = compose_training([*trial_overrides(), *_options(first), "test=[]"])
    if not cell.data.val_fraction:
        raise InputError("a search needs held-out faces; give data.val_fraction more than 0")
    return space


@contextlib.contextmanager
def _own_trial(
    study: optuna.Study, config: DictConfig, space: dict[str, BaseDistribution], folder: Path
) -> Iterator[optuna.Trial | None]:
    """A new trial, locked as long as it is ours; None where there are enough."""
    with contextlib.ExitStack() as stack:
        with filelock.FileLock(folder / "study.lock"):
            _give_back_lost_trials(study, folder)
            is_wanted = len(_counted(study)) < config.search.num_trials
            trial = _new_trial(study, config, space) if is_wanted else None
            if trial is not None:
                stack.enter_context(hold(folder, _lock_of(trial.number)))
        yield trial


def _new_trial(study: optuna.Study, config: DictConfig, space: dict[str, BaseDistribution]) -> optuna.Trial | None:
    """A trial of options that no other has: a lost trial's, or what the sampler proposes; None where all have had theirs.

    What is proposed depends on the trials that count and on nothing else, so a search that was broken off goes on as if it had
    not been. A proposal that has had its trial is replaced by a random one.
    """
    seed = config.seed + len(_counted(study)) + sum(REFUSED in trial.user_attrs for trial in study.trials)
    if len({str(trial.params) for trial in _counted(study)}) >= math.prod(_num_values(values) for values in space.values()):
        log.info("all options of search.space have had their trial")
        return None
    study.sampler = instantiate(config.search.sampler)(seed=seed)
    while True:
        had = [trial.params for trial in _counted(study)]
        trial = study.ask(space)
        if trial.params not in had:
            return trial
        study.tell(trial, state=TrialState.FAIL)
        seed += SEED_STEP
        study.sampler = optuna.samplers.RandomSampler(seed=seed)


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


def trial_overrides() -> list[str]:
    """Options of every trial; test sets are for the best one, afterwards."""
    return [text for text in _overrides() if not text.lstrip("+~").startswith(("test=", "test."))]


def _overrides() -> list[str]:
    return [text for text in HydraConfig.get().overrides.task if not text.lstrip("+~").startswith(("hydra", "search"))]


def _open_study(config: DictConfig, space: dict[str, BaseDistribution]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = output_dir()
    with filelock.FileLock(folder / "study.lock"):
        _cut_half_line(folder / "journal.log")
        storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.create_study(study_name=config.search.name, storage=storage, load_if_exists=True)
    study.pruner = instantiate(config.search.pruner)
    given = {
        "options": " ".join(sorted(trial_overrides())),
        "metric": config.search.metric,
        "space": {key: repr(values) for key, values in space.items()},
    }
    before = study.user_attrs.get("asked")
    if before is None:
        study.set_user_attr("asked", given)
    elif changed := differences(given, before):
        raise InputError(f"{folder} holds another search ({'; '.join(changed)}); choose another search.name")
    return study


def _cut_half_line(path: Path) -> None:
    """Take off the end of a journal what a full disk or a kill has left of a line: nothing could be added to it."""
    if path.is_file():
        content = path.read_bytes()
        if (end := content.rfind(b"\n") + 1) < len(content):
            log.warning("%s: its last line was cut short and is left out", path)
            os.truncate(path, end)


def _lock_of(number: int) -> str:
    return f"trial_{number}.lock"


def _num_values(values: BaseDistribution) -> float:
    """How many values an option has."""
    if isinstance(values, CategoricalDistribution):
        return len(values.choices)
    if isinstance(values, IntDistribution):
        return values.high - values.low + 1
    return 1 if values.single() else math.inf


def _give_back_lost_trials(study: optuna.Study, folder: Path) -> None:
    """Have the options of trials whose process died tried again first; their cells go on from their checkpoints."""
    given_back = {trial.user_attrs.get(GIVEN_BACK) for trial in study.trials}
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        with hold(folder, _lock_of(trial.number)) as free:
            if free:
                params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
                # One that died before it had all of its options is proposed anew, as it was the first time.
                space = study.user_attrs.get("asked", {}).get("space", params)
                if params.keys() == space.keys() and trial.number not in given_back:
                    study.enqueue_trial(params, user_attrs={GIVEN_BACK: trial.number})
                study.tell(trial.number, state=TrialState.FAIL)


def _counted(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that are not merely waiting, or lost and waiting again."""
    return [
        trial
        for trial in study.trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING) or "reason" in trial.user_attrs
    ]


def _run_trial(study: optuna.Study, trial: optuna.Trial, metric: str) -> None:
    overrides = [*trial_overrides(), *_options(trial.params), "test=[]"]
    cell = compose_training(overrides)
    folder = runs_dir() / train_id(cell)
    trial.set_user_attr("folder", folder.name)
    log.info("trial %d: %s", trial.number, " ".join(_options(trial.params)))
    watch = _Watch(trial, folder, metric)
    while (state := finish_cell(cell, folder, overrides, given_up=watch)).state == "busy":
        time.sleep(BUSY_SECONDS)
    if (reason := watch()) is not None:
        log.info("trial %d pruned: %s", trial.number, reason)
        study.tell(trial, state=TrialState.PRUNED)
    elif state.state != "finished":
        _fail(study, trial, state.reason)
    elif watch.value is None:
        _fail(study, trial, f"no {metric} in {folder / 'metrics.csv'}; name one of its columns (search.metric)")
    else:
        study.tell(trial, watch.value)


def _fail(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    """Count a trial as failed; where none has succeeded yet, the fault is rather the search's, and InputError ends it."""
    log.warning("trial %d failed: %s", trial.number, reason)
    if any(other.state is TrialState.COMPLETE for other in study.trials):
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=TrialState.FAIL)
        return
    trial.set_user_attr(REFUSED, reason)
    study.tell(trial, state=TrialState.FAIL)
    raise InputError(f"trial {trial.number} failed before any came to its end: {reason}")


class _Watch:
    """Hands a cell's epochs to the pruner as they come."""

    def __init__(self, trial: optuna.Trial, folder: Path, metric: str) -> None:
        self.trial, self.folder, self.metric = trial, folder, metric
        self.value: float | None = None
        self.pruned = False
        self._seen = -1

    def __call__(self) -> str | None:
        """The reason to end the cell, if there is one."""
        for number, value in read_metrics(self.folder, self.metric).items():
            epoch = number - 1
            if epoch > self._seen and not self.pruned and math.isfinite(value):
                self._seen, self.value = epoch, value
                self.trial.report(value, epoch)
                self.pruned = self.trial.should_prune()
        return f"unpromising after epoch {self._seen}" if self.pruned else None


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
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def best_command(study: optuna.Study) -> str:
    """The sweep of one cell that finds the best trial's training finished and only tests it."""
    return f"{typed('train')} -m {shlex.join([*_overrides(), *_options(study.best_params)])}"


def write_sweep(config: DictConfig, path: Path) -> Path:
    """Write a search's space, metric and options as a sweep file of W&B, whose agents run `train.py`; without test sets."""
    program = ["-m", "headposekit", "train"] if IS_INSTALLED else ["${program}"]
    sweep = {
        "name": str(config.search.name),
        "method": "bayes",
        "metric": {"name": str(config.search.metric), "goal": "minimize"},
        "run_cap": int(config.search.num_trials),
        "parameters": {key: _parameter(values) for key, values in search_space(config).items()},
        # No shell reads these: each is one argument.
        "command": ["${env}", "${interpreter}", *program, "logger=wandb", *trial_overrides(), "test=[]", "${args_no_hyphens}"],
    }
    if not IS_INSTALLED:
        sweep["program"] = os.path.relpath(ROOT / "src" / "train.py")  # agents are started from this folder
    if not path.parent.is_dir():
        raise InputError(f"search.wandb_sweep={path}: No such file or directory; give a file in a folder that is there")
    write_text(path, yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True))
    return path


def _parameter(values: BaseDistribution) -> dict[str, Any]:
    """In W&B's words.

    >>> _parameter(CategoricalDistribution(["16", "conv"]))
    {'values': [16, 'conv']}
    """
    if isinstance(values, CategoricalDistribution):
        texts = map(str, values.choices)
        return {"values": [int(text) if re.fullmatch("0|[1-9][0-9]*", text) else text for text in texts]}
    assert isinstance(values, FloatDistribution | IntDistribution)
    kind = {
        (FloatDistribution, False): "uniform",
        (FloatDistribution, True): "log_uniform_values",
        (IntDistribution, False): "int_uniform",
        (IntDistribution, True): "q_log_uniform_values",  # in steps of one, its default
    }[type(values), values.log]
    return {"distribution": kind, "min": values.low, "max": values.high}
