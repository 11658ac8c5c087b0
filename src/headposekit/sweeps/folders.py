"""Run folders: each run has one of its own, and holds it for as long as it lives."""

import contextlib
import itertools
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from headposekit.errors import InputError
from headposekit.files import locked

CELL = "HEADPOSEKIT_CELL"
"""Environment variable: set where a sweep or search runs the training, holds its folder, and tells the user how it ended."""
FULL_ERROR = "HEADPOSEKIT_ASKED_FULL_ERROR"
"""Environment variable: what HYDRA_FULL_ERROR was when the user started the program."""
SWEEP = "HEADPOSEKIT_SWEEP"
"""Environment variable: what the sweep or search is called whose cell this is."""
SWEEPER = "HEADPOSEKIT_SWEEPER"
"""Environment variable: the process of the sweep whose launcher runs this."""
LOCK = "running.lock"
RANKS = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
"""Environment variables: a process' number among those of its run, as torchrun, srun and Lightning set them."""


def folders_of(train_id: str, runs: Path) -> list[Path]:
    """Folders below `runs` that are named after a training: its cell of sweeps, and single runs of it, in order."""
    name = re.compile(rf"(.*_)?{train_id}")
    return sorted(path for path in runs.glob(f"*{train_id}*") if name.fullmatch(path.name))


@contextlib.contextmanager
def hold(folder: Path, name: str = LOCK, *, is_needed: bool = True) -> Iterator[bool]:
    """Whether a lock in a folder is ours as long as we hold it, see `locked`; the system takes it from a process that dies."""
    with locked(folder / name, is_needed=is_needed) as is_ours:
        if is_ours:
            with contextlib.suppress(OSError):  # for people, where there is room; Windows lets nobody write into a lock
                (folder / name).write_text(f"{socket.gethostname()} {os.getpid()}\n")
        yield is_ours


class GivenUp(Exception):
    """A cell of a sweep ends here, for this reason."""


class Watch:
    """Looks whether a cell shall go on: `given_up` gives no reason to end it, and files of a folder change every so often."""

    def __init__(self, folder: Path, minutes: float, given_up: Callable[[], str | None]) -> None:
        self.folder, self.minutes, self.given_up = folder, minutes, given_up
        # By our own clock, from one change to the next: a file may be dated tomorrow, and a file server's clock be wrong.
        self._signs, self._last = self._look(), time.monotonic()

    def __call__(self) -> bool:
        """Whether anything has changed since the last call; raises GivenUp."""
        if reason := self.given_up():
            raise GivenUp(reason)
        if (now := self._look()) != self._signs:
            self._signs, self._last = now, time.monotonic()
            return True
        if time.monotonic() - self._last > 60 * self.minutes:
            raise GivenUp(f"no sign of life in {self.folder} for {self.minutes:g} minutes (pool.patience)")
        return False

    def _look(self) -> dict[Path, tuple[int, int]]:
        signs = {}
        for path in [*self.folder.glob("*"), *self.folder.glob("checkpoints/*")]:
            with contextlib.suppress(FileNotFoundError):  # moved into place meanwhile
                status = path.stat()
                signs[path] = (status.st_size, status.st_mtime_ns)
        return signs


class RunFolders:
    """The folders of one run, held until the block ends in which it is used as a context manager.

    With `has_ranks`, processes that torchrun or srun start at once are one run.
    """

    current: ClassVar["RunFolders | None"] = None

    def __init__(self, has_ranks: bool = True) -> None:
        self.has_ranks = has_ranks
        self._locks = contextlib.ExitStack()
        self._held: set[Path] = set()
        self._new: dict[Path, Path] = {}

    def __enter__(self) -> "RunFolders":
        RunFolders.current = self
        return self

    def __exit__(self, *_: object) -> None:
        RunFolders.current = None
        self._locks.close()

    def take(self, folder: Path) -> Path:
        """Make and hold a folder, unless a sweep or another process of this training does; InputError where another run is."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._is_first() and folder.resolve() not in self._held:
            if not self._locks.enter_context(hold(folder, is_needed=False)):
                raise InputError(f"{folder}: another run is at work in it ({LOCK}); wait for its end, or choose another folder")
            self._held.add(folder.resolve())
        return folder

    def new(self, path: Path) -> Path:
        """Make a folder that was not there before, always the same for a path; of several processes the first makes it.

        Its name is a time and what runs, TIME_WHAT; where that is taken TIME-2_WHAT, TIME-3_WHAT ... InputError where the
        processes of this run do not find each other.
        """
        if path not in self._new:
            folder = self._agree(path)
            if folder is None and not self._is_first():
                if CELL in os.environ or os.environ.get("LOCAL_RANK", "0") != "0":
                    return path  # whoever started this process has made it
                raise InputError("this is not the first process of its run; give all of them the same hydra.run.dir=DIR")
            self._new[path] = folder or self._make(path)
        return self._new[path]

    def _make(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        when, _, what = path.name.rpartition("_")
        for number in itertools.count(1):
            folder = path if number == 1 else path.with_name(f"{when}-{number}_{what}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
        return self.take(folder)

    def _agree(self, path: Path) -> Path | None:
        """The folder that the first of several processes makes; None where neither torchrun nor srun has started any."""
        if CELL in os.environ or not self.has_ranks or not {"TORCHELASTIC_RUN_ID", "SLURM_STEP_ID"} & set(os.environ):
            return None
        # Both export these, but not in words that mypy reads.
        from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment  # type: ignore[attr-defined]
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        kinds: Any = (TorchElasticEnvironment, SLURMEnvironment)
        try:
            run = next((kind() for kind in kinds if kind.detect()), None)
            if run is None or run.world_size() == 1:
                return None
            key, is_first = f"headposekit/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", is_first_process()
            hosts = is_first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
            where = run.main_address, run.main_port, None, hosts, timedelta(minutes=5)
            # Lightning's processes meet in the same place afterwards.
            store: Any = TCPStore(*where, wait_for_workers=False, multi_tenant=True)
            if is_first:
                store.set(key, str(self._make(path)))
            folder = Path(store.get(key).decode())
            if store.add(f"{key}/read", 1) == run.world_size():
                store.set(f"{key}/all", "have read it")
            if is_first:
                store.get(f"{key}/all")  # with this process the store would go
        except RuntimeError as error:
            raise InputError(f"the processes of this run do not find each other: {str(error).splitlines()[0]}") from error
        self._store = store
        return folder

    def _is_first(self) -> bool:
        return CELL not in os.environ and (not self.has_ranks or is_first_process())


def take_folder(folder: Path) -> Path:
    """Make and hold a folder that this run writes into beside its own, see `RunFolders.take`."""
    if RunFolders.current is not None:
        return RunFolders.current.take(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_first_process() -> bool:
    """Whether this is the first process of its run, or the only one."""
    return all(int(os.environ.get(name) or 0) == 0 for name in RANKS)
