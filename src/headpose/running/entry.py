"""Entry points: Hydra around a task, refusals in one line, a reason left behind where a run fails."""

import contextlib
import functools
import io
import logging
import math
import os
import re
import secrets
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headpose.errors import InputError
from headpose.files import write_json, write_text
from headpose.reporting.runs import read_results
from headpose.running.command_line import hydra_arguments
from headpose.running.folders import CELL, RunFolders, folders_of
from headpose.running.identity import train_id
from headpose.running.options import check_options, check_values
from headpose.running.protocols import settle_tests

ROOT = Path(__file__).resolve().parents[3]
Task = Callable[[DictConfig], Any]
ASKED = "HEADPOSE_ASKED_FULL_ERROR"
"""Environment variable: what HYDRA_FULL_ERROR was when the user started the program."""
SWEEP = "HEADPOSE_SWEEP"
"""Environment variable: what the sweep or search is called whose cell this is."""
SWEEPER = "HEADPOSE_SWEEPER"
"""Environment variable: the process of the sweep whose launcher runs this."""
TAGGED = ("model", "backbone", "aggregation", "scoring", "data", "protocol")
"""Groups whose choices are a run's tags."""


def entry_point(
    config_name: str, after_interrupt: str = "the same command goes on", *, reads_runs: bool = False
) -> Callable[[Task], Callable[[], None]]:
    """Decorate a task as `hydra.main` does, with `conf/<config_name>.yaml`.

    `after_interrupt` is what an interrupted user is told; a task that only reads runs (`reads_runs`) needs some, and no sweep.

    Wrong input and Hydra's own refusals become one line on standard error and exit status 1; HYDRA_FULL_ERROR=1 shows the
    traceback. A run that fails, for whatever reason, leaves failed.json in its folder.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def main() -> None:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="replace")  # what its encoding lacks is no reason to stop
            typed = sys.argv
            asked = os.environ.get("HYDRA_FULL_ERROR", "0")
            os.environ |= {"HYDRA_FULL_ERROR": "1", ASKED: asked}  # Hydra then raises instead of printing pages
            refused: list[Exception] = []

            @functools.wraps(task)
            def job(config: DictConfig) -> Any:
                try:
                    check_options(config)
                    settle_tests(config)  # of an option with several values it makes several test sets
                    check_values(config)
                    return task(config)
                except (KeyboardInterrupt, SystemExit) as error:  # Lightning turns both signals into an exit
                    _leave_reason("interrupted")
                    if CELL not in os.environ:
                        again = "go on from the last epoch with resume=auto"
                        again = again if config_name == "train" and not is_sweep() else after_interrupt
                        print(f"error: interrupted; {again}", file=sys.stderr)
                    sys.exit(143 if type(error).__name__ == "SIGTERMException" else 130)
                except Exception as error:
                    _leave_reason(one_line(error) or f"{type(error).__name__}: {error}".strip().splitlines()[0])
                    # Hydra announces an exception on a line of its own; a sweep has to see it, a single run does not.
                    if is_sweep():
                        raise
                    refused.append(error)
                    return None

            _quieten()
            try:
                sys.argv = [sys.argv[0], *hydra_arguments(sys.argv[1:], config_name)]
                if reads_runs:
                    _check_reading(sys.argv[1:])
                with RunFolders() as folders:
                    register_resolvers(folders)
                    _take_given(folders, config_name, sys.argv[1:])
                    hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name=config_name)(job)()
                if refused:
                    raise refused[0]
            except Exception as error:
                line = one_line(error)
                if asked == "1" or line is None:
                    raise
                print(f"error: {line}", file=sys.stderr)
                sys.exit(1)
            finally:
                os.environ["HYDRA_FULL_ERROR"] = asked
                sys.argv = typed

        return main

    return decorate


def _check_reading(arguments: list[str]) -> None:
    """Refuse to read runs where none are, and in a sweep: before Hydra makes a folder for it."""
    if {"-m", "--multirun"} & set(arguments):
        raise InputError("-m is for trainings (train.py); leave it out, seeds are taken together anyway")
    if not runs_dir().is_dir() and not any(argument.startswith("-") for argument in arguments):  # --help needs none
        raise InputError(f"{runs_dir()} holds no finished run; python src/train.py makes one")


def _take_given(folders: RunFolders, config_name: str, arguments: list[str]) -> None:
    """Hold a folder that is given as hydra.run.dir=, before Hydra writes into it; several searches may share theirs."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "hydra.run.dir" and config_name != "search":
            with contextlib.suppress(HydraException):  # Hydra itself refuses it, and says why
                value = str(OverridesParser.create().parse_override(argument).value())
                if "${" not in value:
                    folders.take(Path(value))


def _quieten() -> None:
    """Leave out, by name, what Lightning says on every run and helps nobody here."""
    # Advertisements and the list of accelerators that are not there; warnings still come through.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    # Batches are fetched whole, which makes the main process the fastest worker (measured).
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Validation is off by choice where data.val_fraction is 0.
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero.*")
    # Lightning's own use of torch's pytree; nothing a user could change.
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")


def one_line(error: BaseException) -> str | None:
    """What a person needs to know of a refusal, or None where the error is a fault of the program."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for link in chain:
        if isinstance(link, InputError):
            # From a worker process the message arrives with that process' traceback before it.
            return str(link).rsplit("InputError: ", maxsplit=1)[-1].strip().splitlines()[0]
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path, its permissions and the room left"
    for link in chain:
        if isinstance(link, yaml.YAMLError):
            said = " ".join(str(link).split())
            return f"{said}; correct the file: names, numbers, texts, lists and mappings are all that one may hold"
        if "shared memory" in str(link) or "insufficient shm" in str(link):
            return (
                "too little shared memory (/dev/shm) for worker processes; give more (docker run --shm-size=1g), "
                "or data.num_workers=0"
            )
    if missing := re.search(r"Missing mandatory value: ([\w.]+)(?:\s+full_key: ([\w.]+))?", str(error)):
        # `module` holds copies of what stands at the top, `test` sets that were made of one.
        key = re.sub(
            r"^(test\.\w+?)(_(x|jitter|shift|padding|seed)[\d.]+(px)?|_ypr|_pyr)+\.",
            r"\1.",
            (missing[2] or missing[1]).removeprefix("module."),
        )
        return f"{key} is needed; give {key}=..."
    if twice := re.search(r"@test\.(\w+)\.\w+ appears more than once", str(error)):
        return f"test set {twice[1]} is named twice; give each once in test=[...]"
    if unknown := re.match(r"Could not override '(.+?)'\.\s*(No match in the defaults list)?(Did you mean[^\n]*)?", str(error)):
        key, is_group, hint = unknown.groups()
        said = "; nothing that was chosen takes one" if is_group else ""
        return f"no such option: {key}{said}{f'; {hint[0].lower()}{hint[1:]}' if hint else ''}"
    if isinstance(error, HydraException | OmegaConfBaseException | MisconfigurationException):
        said = str(error).split("Config search path:")[0]
        lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
        return "; ".join(line for line in lines if not line.startswith("set env variable"))
    return None


def is_sweep() -> bool:
    """Whether this is a cell of a sweep (`-m`)."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def output_dir() -> Path:
    """The folder of this run."""
    return Path(HydraConfig.get().runtime.output_dir)


def register_resolvers(folders: RunFolders | None = None) -> None:
    """Make known what conf/ uses: resolvers, and the project's root, where experiments/ is found.

    Args:
        folders: of the run that has begun; none where configurations are only composed.
    """
    os.environ["HEADPOSE_ROOT"] = str(ROOT)
    resolvers: dict[str, Callable[..., Any]] = {
        "train_id": lambda *, _root_: train_id(_root_),
        "run_dir": functools.partial(_run_dir, folders),
        "shared_dir": lambda path: str(folders.take(Path(path)) if folders else path),
        "run_name": lambda: output_dir().name,
        "dataset_root": _dataset_root,
        "run_id": _run_id,
        "runs_dir": lambda: str(runs_dir()),
        "run_group": _run_group,
        "folder_name": _folder_name,
        "run_tags": _run_tags,
        "thirds": _thirds,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _thirds(epochs: Any) -> ListConfig:
    """One and two thirds of a number of epochs; of anything else nothing, `check_options` then says what is wrong."""
    return OmegaConf.create([math.ceil(epochs / 3), math.ceil(2 * epochs / 3)] if isinstance(epochs, int) else [])


def _folder_name(name: Any) -> str:
    """A name that makes one folder, in the place where it is asked for."""
    if not isinstance(name, str) or not re.fullmatch(r"[^/\\\0]+", name) or name.startswith("."):
        raise InputError(f"search.name={name} names no folder of its own; give one word, such as search.name=first")
    return name


def given_overrides() -> list[Override]:
    """What was given on the command line, parsed."""
    parsed: list[Override] = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    return parsed


def runs_dir() -> Path:
    """Where runs go: $HEADPOSE_RUNS, or `runs/` of the project."""
    return Path(os.environ.get("HEADPOSE_RUNS") or ROOT / "runs")


def _run_dir(folders: RunFolders | None, name: str, *, _root_: DictConfig) -> str:
    """Folder of a single run: a new one, or that of the training it resumes (so one training has one folder).

    Raises:
        InputError: the training that it resumes is still running.
    """
    resume, resumed = _root_.get("resume"), None
    if resume == "auto":
        wanted = train_id(_root_)
        unfinished = [
            folder
            for folder in folders_of(wanted, runs_dir())
            if folder.name != wanted and any(folder.glob("checkpoints/*.ckpt")) and read_results(folder) is None
        ]
        resumed = unfinished[-1] if unfinished else None
    elif resume is not None and Path(resume).is_file() and Path(resume).resolve().parent.name == "checkpoints":
        resumed = Path(resume).resolve().parent.parent
    if folders is None:
        return str(resumed or runs_dir() / name)
    return str(folders.take(resumed) if resumed else folders.new(runs_dir() / name))


def _run_id(*, _root_: DictConfig) -> str:
    """An id of this training for services that keep runs apart by id; a resumed training has its own again."""
    path = output_dir() / ".hydra" / "run_id"
    if not path.is_file() or (_root_.get("resume") is None and _is_first_process()):
        write_text(path, secrets.token_hex(6))
    return path.read_text()


def _run_group() -> str | None:
    """The experiment, sweep or search that a run belongs to, for services that group runs."""
    return HydraConfig.get().runtime.choices.get("experiments") or os.environ.get(SWEEP) or None


def _run_tags(*, _root_: DictConfig) -> ListConfig:
    """What was chosen, as `group=choice`."""
    choices = HydraConfig.get().runtime.choices
    chosen = {group: choices[group] for group in TAGGED if choices.get(group)}
    if chosen.get("protocol") == "none":
        del chosen["protocol"]
    tags = [f"{group}={choice}" for group, choice in chosen.items()] + [f"test={name}" for name in _root_.test]
    return OmegaConf.create([tag[:64] for tag in tags])  # longer ones W&B refuses


def _dataset_root(folder: str, *, _parent_: DictConfig, _root_: DictConfig) -> str:
    """Where a dataset lies: as a test set, where the training set lies if it is the same dataset; else $HEADPOSE_DATASETS.

    A tree that the configuration has written (see `headpose.running.trees`) lies below `smoke/` there.
    """
    data = _root_.get("data")
    if data is not None and data is not _parent_ and data.get("_target_") == _parent_.get("_target_"):
        return str(data.root)
    datasets = Path(os.environ.get("HEADPOSE_DATASETS") or ROOT / "datasets")
    return str((datasets / "smoke" if folder in (_root_.get("trees") or {}) else datasets) / folder)


def _leave_reason(reason: str) -> None:
    """Write failed.json, from one process, and never fail over it: the reason itself is on its way to the user."""
    if _is_first_process():
        with contextlib.suppress(OSError, InputError):
            write_json(output_dir() / "failed.json", {"status": "failed", "reason": reason})


def _is_first_process() -> bool:
    """Whether this is the process the user started; Lightning numbers those it starts itself."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0
