"""The package where Windows and macOS differ from Linux: without POSIX's modules, signals and process groups."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from headposekit import process

IMPORT_ALL = """
import importlib, os, signal, sys

import albumentations, cv2, h5py, hydra, filelock, matplotlib.pyplot, onnx, onnxruntime, optuna, psutil, pytorch_lightning, rich
import scipy.io, timm, torch, torchmetrics, torchvision, wandb, werkzeug.serving  # which know what to do on Windows
import multiprocessing, subprocess, tempfile  # likewise

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("SIGKILL", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGCHLD", "pause", "alarm"):
    delattr(signal, name)
for name in ("fork", "register_at_fork", "killpg", "setsid", "getpgid", "sched_getaffinity", "statvfs", "mkfifo", "getuid"):
    delattr(os, name)
for module in sys.argv[1:]:
    importlib.import_module(module)
"""
SOURCE = Path(process.__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for folder in ("headposekit", "hydra_plugins")
    for path in sorted((SOURCE / folder).rglob("*.py"))
]


def test_every_module_is_imported_without_posix() -> None:
    assert len(MODULES) > 100
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, *MODULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("system", ["posix", "nt"])
def test_a_program_ends_with_all_that_it_has_started(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(process.os, "name", system)
    child = process.start_group([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        grandchild = psutil.Process(int(child.stdout.readline()))
        monkeypatch.setattr(os, "killpg", os.killpg) if system == "posix" else monkeypatch.delattr(os, "killpg")
        process.end_group(child, seconds=0.1)
        assert child.returncode in (-signal.SIGKILL, -signal.SIGTERM)
        deadline = time.monotonic() + 10
        while grandchild.is_running() and grandchild.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)
