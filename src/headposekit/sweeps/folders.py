"""Run folders: each run has one of its own, and holds it for as long as it lives."""

import contextlib
import itertools
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

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


def folders_of(train_id: str, runs: Path) -> list[Path]:
    """Folders below `runs` that are named after a training: its cell of sweeps, and single runs of it, in order."""
    name = re.compile(rf"(.*_)?{train_id}")
    return sorted(path for path in runs.glob(f"*{train_id}*") if name.fullmatch(path.name))


@contextlib.contextmanager
def hold(folder: Path, name: str = LOCK) -> Iterator[bool]:
    """Whether a lock in a folder is ours as long as we hold it; the system takes it from a process that dies."""
    with locked(folder / name) as is_ours:
        if is_ours:
            with contextlib.suppress(OSError):  # for people, where there is room; Windows lets nobody write into a lock
                (folder / name).write_text(f"{socket.gethostname()} {os.getpid()}\n")
        yield is_ours


class RunFolders:
    """The folders of one run, held until the block ends in which it is used as a context manager."""

    current: ClassVar["RunFolders | None"] = None

    def __init__(self) -> None:
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
        if _is_on_its_own() and folder.resolve() not in self._held:
            if not self._locks.enter_context(hold(folder)):
                raise InputError(f"{folder}: another run is at work in it ({LOCK}); wait for its end, or choose another folder")
            self._held.add(folder.resolve())
        return folder

    def new(self, path: Path) -> Path:
        """Make a folder that was not there before, always the same for a path.

        Its name is a time and what runs, TIME_WHAT; where that is taken TIME-2_WHAT, TIME-3_WHAT ...
        """
        if not _is_on_its_own():  # another process has made it
            return path
        if path not in self._new:
            path.parent.mkdir(parents=True, exist_ok=True)
            time, _, what = path.name.rpartition("_")
            for number in itertools.count(1):
                folder = path if number == 1 else path.with_name(f"{time}-{number}_{what}")
                with contextlib.suppress(FileExistsError):
                    folder.mkdir()
                    self._new[path] = self.take(folder)
                    break
        return self._new[path]


def take_folder(folder: Path) -> Path:
    """Make and hold a folder that this run writes into beside its own, see `RunFolders.take`."""
    if RunFolders.current is not None:
        return RunFolders.current.take(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_on_its_own() -> bool:
    return CELL not in os.environ and "LOCAL_RANK" not in os.environ
