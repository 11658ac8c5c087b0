"""GPUs of a machine, locked by the cells of sweeps that use them."""

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig

from headposekit.errors import InputError
from headposekit.files import locked
from headposekit.sweeps.folders import Watch, hold

POLL_SECONDS = 2.0


@contextlib.contextmanager
def own_gpus(trainer: DictConfig | None, patience: float, given_up: Callable[[], str | None]) -> Iterator[dict[str, Path]]:
    """As many GPUs as a cell uses, none of them another cell's on this machine: what CUDA calls each, and its lock.

    While it waits it holds none, for as long as the cells that do show signs of life (`pool._run_child` touches the locks).
    Empty for a cell without GPUs, and where Lightning will refuse. Raises GivenUp, see `Watch`, or InputError where the
    options of Lightning's `trainer` name the GPUs.
    """
    visible = visible_gpus() if trainer is not None and trainer.accelerator in ("auto", "gpu", "cuda") else []
    wanted = _number(trainer.devices, len(visible)) if trainer is not None and visible else 0
    if not 0 < wanted <= len(visible):
        yield {}
        return
    folder = Path(tempfile.gettempdir()) / f"headposekit-{getattr(os, 'getuid', int)()}" / "gpus"  # this machine's own
    folder.mkdir(parents=True, exist_ok=True)
    watch = Watch(folder, patience, given_up)
    with contextlib.ExitStack() as stack:
        while len(taken := _take(stack, folder, visible, wanted)) < wanted:
            watch()
            time.sleep(POLL_SECONDS)
        yield taken


def _take(stack: contextlib.ExitStack, folder: Path, gpus: list[str], wanted: int) -> dict[str, Path]:
    """Lock GPUs until the stack ends; none where too few are free."""
    taken: dict[str, Path] = {}
    with contextlib.ExitStack() as attempt:
        if not attempt.enter_context(locked(folder.with_suffix(".lock"), wait=True)):  # one at a time
            return {}
        with contextlib.ExitStack() as locks:
            for gpu in gpus:
                name = f"{gpu.replace('/', '_')}.lock"
                if len(taken) < wanted and locks.enter_context(hold(folder, name)):
                    taken[gpu] = folder / name
            if len(taken) < wanted:
                return {}
            stack.push(locks.pop_all())
    return taken


def _number(devices: Any, visible: int) -> int:
    """How many GPUs `trainer.devices` means to Lightning; 0 where it will refuse."""
    text = str(devices).strip()
    if isinstance(devices, ListConfig) or "," in text:
        raise InputError(f"trainer.devices={text}: a sweep chooses the GPUs; give their number, such as trainer.devices=2")
    if text in ("auto", "-1"):
        return visible
    return int(text) if text.isdecimal() else 0


def visible_gpus() -> list[str]:
    """The GPUs that CUDA would use, in its order, by their UUIDs; by what CUDA calls them where nvidia-smi does not answer."""
    uuids: list[str] = []
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60).stdout
        # In the order in which Lightning has CUDA count them.
        uuids = re.findall(r"^GPU \d+: .*\(UUID: (GPU-[\w-]+)\)", listed, re.MULTILINE)
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = None if given is None else [name.strip() for name in given.split(",")]
    if not uuids:
        count = torch.cuda.device_count()
        return [str(number) for number in range(count)] if names is None else names[:count]
    if names is None:
        return uuids
    gpus = []
    for name in names:
        if name.isdecimal() and int(name) < len(uuids):
            gpus.append(uuids[int(name)])
        elif name.startswith(("GPU-", "MIG-")):
            gpus.append(next((uuid for uuid in uuids if uuid.startswith(name)), name))
        else:
            break  # CUDA takes none from here on
    return gpus
