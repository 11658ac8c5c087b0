"""The pool of trainings: a folder for each, named after its `train_id`, whichever sweep asks for it.

A cell of a sweep runs `train.py` in a process of its own, so one that fails, is killed or hangs stops nothing else; what a
finished one has computed is never computed again.
"""

import contextlib
import itertools
import logging
import os
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from headposekit.errors import InputError
from headposekit.files import write_json
from headposekit.paths import output_dir, process_of, runs_dir
from headposekit.process import available_cores, die_with_parent, end_group, signal_name, start_group
from headposekit.sweeps.folders import CELL, FULL_ERROR, SWEEPER, hold
from headposekit.training.identity import differences, id_of_test, identity, train_id
from headposekit.training.runs import read_failure, read_results
from headposekit.weights.checkpoint import read_card

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
CELL_SECONDS = 30.0
"""That a cell has to leave its own reason behind when it is ended."""


@dataclass(frozen=True)
class CellState:
    """How a cell of a sweep stands, and the reason of a failure.

    It is `missing` where it never ran or was broken off, `busy` where another sweep is at it.
    """

    state: Literal["finished", "failed", "missing", "busy"]
    reason: str = ""


def finished_results(config: DictConfig, folder: Path) -> dict[str, Any] | None:
    """The results.json of this very training in a folder, if it has finished there."""
    results = read_results(folder)
    is_this = results is not None and results.get("status") == "finished" and results.get("train_id") == train_id(config)
    return results if is_this else None


def untested(config: DictConfig, results: dict[str, Any]) -> list[str]:
    """Test sets asked for that a finished training has not been tested on, or only in another form."""
    return [name for name in config.test if results["test"].get(name, {}).get("test_id") != id_of_test(config, name)]


def find_resume(config: DictConfig, folder: Path) -> str | None:
    """The checkpoint that `resume=` means, None to start afresh; InputError where it is missing or of another training."""
    # In the pool, whose folders are named after the training, going on is the rule.
    resume = config.resume or ("auto" if folder.name == train_id(config) else None)
    if resume is None:
        return None
    path = folder / "checkpoints" / "last.ckpt" if resume == "auto" else Path(resume)
    is_own = path.resolve().parent.parent == folder.resolve()
    if resume == "auto" or (is_own and path.is_file() and not is_whole(path)):
        newest = newest_checkpoint(folder)
        if newest is None:
            return None
        path = newest
    _, card = read_card(path)
    if not is_own:
        raise InputError(f"{path}: a training goes on in its own folder; leave hydra.run.dir out (or copy the folder)")
    if changed := differences(identity(config), card.get("identity")):
        raise InputError(
            f"{path}: belongs to another training ({'; '.join(changed[:3])}); give the same options, "
            "or start from it with init_weights="
        )
    return str(path)


def newest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint of a run that is whole; those that are cut short are named in a warning. None where none is whole."""
    paths = [path for name in ("last.ckpt", "best.ckpt") if (path := folder / "checkpoints" / name).is_file()]
    whole = [path for path in paths if is_whole(path)]
    for path in paths:
        if path not in whole:
            going_on = f"going on from {whole[0].name}" if whole else "starting from the first epoch"
            log.warning("%s: damaged or cut short; %s", path, going_on)
    return whole[0] if whole else None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is a zip archive, as torch writes it, each of whose parts has its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # a broken archive can raise anything; what a whole one holds, its reader judges
        return False


def cell_state(config: DictConfig, folder: Path) -> CellState:
    """How a cell stands, as its folder tells."""
    results = finished_results(config, folder)
    if results is not None and not untested(config, results):
        return CellState("finished")
    reason = read_failure(folder)
    return CellState("missing") if reason is None else CellState("failed", reason)


def run_cell(config: DictConfig) -> CellState:
    """Bring the cell of a sweep that Hydra has composed to its end, see `finish_cell`."""
    if os.environ.get(SWEEPER) == str(os.getppid()):
        die_with_parent()  # a launcher's worker would outlive a sweep that is killed
    hydra = HydraConfig.get()
    return finish_cell(config, output_dir(), hydra.overrides.task, int(hydra.launcher.get("n_jobs") or 1))


def finish_cell(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    parallel: int = 1,
    given_up: Callable[[], str | None] = lambda: None,
) -> CellState:
    """Bring a training to its end: nothing to do, a new test only, the rest of it, or all of it.

    Args:
        config, folder: of the training.
        overrides: the command line of `train.py` that means this configuration.
        parallel: how many cells run side by side on this machine; they share its cores. Negative ones count from all cores.
        given_up: asked every half second; a reason it gives ends the cell as failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder) as is_ours:
        if not is_ours:
            return CellState("busy")
        if cell_state(config, folder).state == "finished":
            log.info("finished before: %s", folder)
            return CellState("finished")
        (folder / "failed.json").unlink(missing_ok=True)
        with _own_gpus(config) as environment:
            reason = _run_child(folder, overrides, parallel, environment, config.pool.patience, given_up)
        if reason and (given_up() or not (folder / "failed.json").is_file()):  # the cell itself only knows of an interruption
            write_json(folder / "failed.json", {"status": "failed", "reason": reason})
        state = cell_state(config, folder)
        log.info("%s%s: %s", state.state, f" ({state.reason})" if state.reason else "", folder)
        return state


@contextlib.contextmanager
def _own_gpus(config: DictConfig) -> Iterator[dict[str, str]]:
    """Environment of a cell that sees as many GPUs as it uses, no other cell's among them.

    Where no more are visible than it uses (a launcher has shared them out already) nothing is changed.
    """
    wanted = config.trainer.devices if isinstance(config.trainer.devices, int) else 1
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible is not None else [str(n) for n in range(torch.cuda.device_count())]
    if config.trainer.accelerator == "cpu" or len(gpus) <= wanted:
        yield {}
        return
    folder = runs_dir() / ".gpus"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        taken: list[str] = []
        for gpu in itertools.cycle(gpus):
            with contextlib.ExitStack() as attempt:
                if gpu not in taken and attempt.enter_context(hold(folder, f"{socket.gethostname()}_{gpu}.lock")):
                    taken.append(gpu)
                    stack.push(attempt.pop_all())
            if len(taken) == wanted:
                break
            if gpu == gpus[-1]:
                time.sleep(POLL_SECONDS)
        yield {"CUDA_VISIBLE_DEVICES": ",".join(taken)}


def _run_child(
    folder: Path,
    overrides: Sequence[str],
    parallel: int,
    environment: dict[str, str],
    patience: float,
    given_up: Callable[[], str | None],
) -> str | None:
    """Run the cell as a single run in its folder; returns the reason of a failure."""
    command = [*process_of("train"), *overrides, f"hydra.run.dir={folder}"]
    threads = {} if parallel == 1 else {"OMP_NUM_THREADS": str(max(1, available_cores() // _jobs(parallel)))}
    with contextlib.ExitStack() as stack:
        # Side by side, the cells' progress bars would overwrite each other.
        output = None if parallel == 1 else stack.enter_context((folder / "console.log").open("a"))
        child = start_group(
            command,
            env={**threads, **os.environ, **environment, CELL: "1", "HYDRA_FULL_ERROR": os.environ.get(FULL_ERROR, "0")},
            stdout=output,
            stderr=output,
        )
        # By our own clock, from one change to the next: a file may be dated tomorrow, and a file server's clock be wrong.
        signs, last = _signs(folder), time.monotonic()
        try:
            while child.poll() is None:
                time.sleep(POLL_SECONDS)
                if reason := given_up():
                    end_group(child, CELL_SECONDS)
                    return reason
                if (now := _signs(folder)) != signs:
                    signs, last = now, time.monotonic()
                if time.monotonic() - last > 60 * patience:
                    end_group(child)
                    return f"no sign of life for {patience:g} minutes (pool.patience); killed"
        except BaseException:
            end_group(child, CELL_SECONDS)
            raise
    if child.returncode == 0:
        return None
    if name := signal_name(child):
        return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"exit status {child.returncode}; see {folder / 'train.log'}"


def _jobs(parallel: int) -> int:
    """Number of jobs side by side; negative ones count from all cores, as joblib does."""
    return parallel if parallel > 0 else max(1, available_cores() + 1 + parallel)


def _signs(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of all that is in the folder of a cell: where they change, it lives."""
    signs = {}
    for path in [*folder.glob("*"), *folder.glob("checkpoints/*")]:
        with contextlib.suppress(FileNotFoundError):  # moved into place meanwhile
            status = path.stat()
            signs[path] = (status.st_size, status.st_mtime_ns)
    return signs
