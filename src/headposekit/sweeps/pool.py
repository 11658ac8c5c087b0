"""The pool of trainings: a folder for each, named after its `train_id`, whichever sweep asks for it.

A cell of a sweep runs `train.py` in a process of its own, so one that fails, is killed or hangs stops nothing else; what a
finished one has computed is never computed again.
"""

import contextlib
import logging
import os
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from headposekit.errors import InputError
from headposekit.files import write_json
from headposekit.paths import output_dir, process_of
from headposekit.process import available_cores, die_with_parent, end_group, signal_name, start_group
from headposekit.sweeps.folders import CELL, FULL_ERROR, RANKS, SWEEPER, GivenUp, Watch, hold
from headposekit.sweeps.gpus import own_gpus
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
    by_ray = OmegaConf.select(hydra.launcher, "ray.remote.num_gpus")
    by_slurm = "SlurmLauncher" in hydra.launcher.get("_target_", "") and "SLURM_JOB_GPUS" in os.environ
    parallel = int(hydra.launcher.get("n_jobs") or 1)
    return finish_cell(config, output_dir(), hydra.overrides.task, parallel, has_gpus=bool(by_ray or by_slurm))


def finish_cell(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    parallel: int = 1,
    given_up: Callable[[], str | None] = lambda: None,
    has_gpus: bool = False,
) -> CellState:
    """Bring a training to its end: nothing to do, a new test only, the rest of it, or all of it.

    Args:
        config, folder: of the training.
        overrides: the command line of `train.py` that means this configuration.
        parallel: how many cells run side by side on this machine; they share its cores. Negative ones count from all cores.
        given_up: asked every half second; a reason it gives ends the cell as failed.
        has_gpus: whether the visible GPUs are those that somebody has shared out to this cell.

    Raises:
        InputError: the cell names its GPUs, or the file system of the folder has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder) as is_ours:
        if not is_ours:
            return CellState("busy")
        if cell_state(config, folder).state == "finished":
            log.info("finished before: %s", folder)
            return CellState("finished")
        (folder / "failed.json").unlink(missing_ok=True)
        patience = config.pool.patience
        try:
            with own_gpus(None if has_gpus else config.trainer, patience, given_up) as gpus:
                reason = _run_child(folder, overrides, parallel, gpus, Watch(folder, patience, given_up))
            if (folder / "failed.json").is_file():
                reason = None  # the cell knows it best
        except GivenUp as error:  # of which the cell itself only knows that it was interrupted
            reason = str(error)
        if reason:
            write_json(folder / "failed.json", {"status": "failed", "reason": reason})
        state = cell_state(config, folder)
        log.info("%s%s: %s", state.state, f" ({state.reason})" if state.reason else "", folder)
        return state


def _run_child(folder: Path, overrides: Sequence[str], parallel: int, gpus: Mapping[str, Path], watch: Watch) -> str | None:
    """Run the cell as a single run in its folder, on these GPUs or all; returns the reason of a failure, or raises GivenUp."""
    command = [*process_of("train"), *overrides, f"hydra.run.dir={folder}"]
    own = {CELL: "1", "HYDRA_FULL_ERROR": os.environ.get(FULL_ERROR, "0")}
    own |= {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    threads = {} if parallel == 1 else {"OMP_NUM_THREADS": str(max(1, available_cores() // _jobs(parallel)))}
    with contextlib.ExitStack() as stack:
        # Side by side, the cells' progress bars would overwrite each other.
        output = None if parallel == 1 else stack.enter_context((folder / "console.log").open("a"))
        child = start_group(command, env={**threads, **_environment(), **own}, stdout=output, stderr=output)
        try:
            while child.poll() is None:
                time.sleep(POLL_SECONDS)
                for lock in gpus.values() if watch() else ():
                    with contextlib.suppress(OSError):
                        os.utime(lock)  # cells that wait for the GPU see a sign of life
        except BaseException:
            end_group(child, CELL_SECONDS)
            raise
    if child.returncode == 0:
        return None
    if name := signal_name(child):
        return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"exit status {child.returncode}; see {folder / 'train.log'}"


def _environment() -> dict[str, str]:
    """This process' environment without what a launcher says of its processes: Lightning starts those of a cell itself."""
    launchers = re.compile(
        "|".join(["SLURM_(?!JOB_ID$).*", "TORCHELASTIC_.*", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", *RANKS])
    )
    return {name: value for name, value in os.environ.items() if not launchers.fullmatch(name)}


def _jobs(parallel: int) -> int:
    """Number of jobs side by side; negative ones count from all cores, as joblib does."""
    return parallel if parallel > 0 else max(1, available_cores() + 1 + parallel)
