"""Entry points: Hydra around a task, refusals in one line, a reason left behind where a run fails."""

import contextlib
import errno
import functools
import io
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from headposekit.cli.command_line import hydra_arguments, parse
from headposekit.cli.options import check_options, check_values
from headposekit.errors import InputError, first_line
from headposekit.extensions import extensions_dir
from headposekit.files import write_json
from headposekit.paths import CONF, output_dir, runs_dir, typed
from headposekit.sweeps.folders import CELL, FULL_ERROR, RunFolders, is_first_process
from headposekit.sweeps.resolvers import register_resolvers

Task = Callable[[DictConfig], Any]
READING = {"config_repository.py", "config_source.py", "default_element.py", "defaults_list.py"}
"""Files of Hydra that read what stands in files of options; some of their exceptions have no type of their own."""


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
            as_typed, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR", "0")
            os.environ |= {"HYDRA_FULL_ERROR": "1", FULL_ERROR: full_error}  # Hydra then raises instead of printing pages
            refused: list[Exception] = []

            @functools.wraps(task)
            def job(config: DictConfig) -> Any:
                try:
                    _check(config)
                    return task(config)
                except (KeyboardInterrupt, SystemExit) as error:  # Lightning turns both signals into an exit
                    _leave_reason("interrupted")
                    if CELL not in os.environ:
                        is_training = config_name == "train" and not is_sweep()
                        again = "go on from the last epoch with resume=auto" if is_training else after_interrupt
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
                arguments = hydra_arguments(sys.argv[1:], config_name)
                sys.argv = [sys.argv[0], *arguments]
                if reads_runs:
                    _check_reading(arguments)
                with RunFolders(has_ranks=config_name in ("train", "evaluate")) as folders:
                    register_resolvers()
                    if config_name != "search":  # several searches may share a folder
                        _take_given(folders, arguments)
                    hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
                if refused:
                    raise refused[0]
            except Exception as error:
                line = one_line(error)
                if full_error == "1" or line is None:
                    raise
                print(f"error: {line}", file=sys.stderr)
                sys.exit(1)
            finally:
                os.environ["HYDRA_FULL_ERROR"] = full_error
                sys.argv = as_typed

        return main

    return decorate


def _check(config: DictConfig) -> None:
    """Refuse options that cannot be, before the task sees them."""
    check_options(config)
    if "test" in config:
        from headposekit.training.protocols import settle_tests  # needs Lightning; predict does not

        settle_tests(config)  # of an option with several values it makes several test sets
    check_values(config)


def _check_reading(arguments: list[str]) -> None:
    """Refuse to read runs where none are, and in a sweep: before Hydra makes a folder for it."""
    if {"-m", "--multirun"} & set(arguments):
        raise InputError("-m is for trainings (train); leave it out, seeds are taken together anyway")
    if not runs_dir().is_dir() and not any(argument.startswith("-") for argument in arguments):  # --help needs none
        raise InputError(f"{runs_dir()} holds no finished run; {typed('train')} makes one")


def _take_given(folders: RunFolders, arguments: list[str]) -> None:
    """Hold a folder that is given as hydra.run.dir=, before Hydra writes into it."""
    for argument in arguments:
        override = parse(argument)[0] if argument.startswith("hydra.run.dir=") else None
        if override is not None and "${" not in (folder := str(override.value())):  # what cannot be read, Hydra refuses
            folders.take(Path(folder))


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
            # From a worker process the message arrives with that process' traceback before it, line breaks as letters.
            return str(link).rsplit("InputError: ", maxsplit=1)[-1].strip().removesuffix("\\n")
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path, its permissions and the room left"
    if isinstance(error, BrokenPipeError):
        return "whatever read the output has ended; send it to a file instead (> log.txt)"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # of what Hydra writes into a run's folder
        return f"{error.strerror}: neither {runs_dir()} nor where the output is sent may be full; make room"
    for link in chain:
        if isinstance(link, yaml.YAMLError):
            said = " ".join(str(link).split())
            return f"{said}; correct the file: names, numbers, texts, lists and mappings are all that one may hold"
        if isinstance(link, UnicodeDecodeError) and (path := _first_that_is_no_text()):
            return f"{path}: not UTF-8 text; save it as UTF-8"
        if "shared memory" in str(link) or "insufficient shm" in str(link):
            return (
                "too little shared memory (/dev/shm) for worker processes; give more (docker run --shm-size=1g), "
                "or data.num_workers=0"
            )
    if type(error).__name__ == "OutOfMemoryError":  # of torch
        said = str(error).split(". ")[0]
        return f"{said}; give a smaller data.batch_size or trainer.precision=bf16-mixed, or end what else uses the GPU"
    if any(str(link).startswith("DataLoader worker (pid") for link in chain):
        return "a worker process was ended from outside, as where memory runs out; give fewer workers or a smaller batch"
    if missing := re.search(r"Missing mandatory value: ([\w.]+)(?:\s+full_key: ([\w.]+))?", str(error)):
        # `module` holds copies of what stands at the top, `test` sets that were made of one.
        from headposekit.data.corruption import KINDS

        key = re.sub(
            rf"^(test\.\w+?)(_(x|jitter|shift|padding|seed|s)[\d.]+(px)?|_(ypr|pyr|clean|{'|'.join(KINDS)}))+\.",
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
    if isinstance(error, HydraException | OmegaConfBaseException) or type(error).__name__ == "MisconfigurationException":
        said = str(error).split("Config search path:")[0]
        lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
        return "; ".join(line for line in lines if not line.startswith("set env variable"))
    if READING & {Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)}:
        return f"{first_line(error)}; correct the file that was chosen: its list `defaults:` holds names and GROUP: NAME"
    return None


def _first_that_is_no_text() -> Path | None:
    """A file of options, of the project or its extensions, that Hydra cannot have read; it says no name."""
    for folder in (CONF, Path(os.environ["HEADPOSEKIT_ROOT"]) / "experiments", extensions_dir()):  # where it searches
        for path in sorted(folder.rglob("*.yaml")) if folder else ():
            try:
                path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                return path
    return None


def is_sweep() -> bool:
    """Whether this is a cell of a sweep (`-m`)."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def _leave_reason(reason: str) -> None:
    """Write failed.json, from one process, and never fail over it: the reason itself is on its way to the user."""
    if is_first_process():
        with contextlib.suppress(OSError, InputError):
            write_json(output_dir() / "failed.json", {"status": "failed", "reason": reason})
