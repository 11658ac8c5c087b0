"""Cores, threads and memory of this process, and the processes that it starts."""

import contextlib
import ctypes
import multiprocessing.queues
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import psutil
from threadpoolctl import threadpool_limits

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
GIB = 2**30
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # looked up here: after a fork it might wait for ever


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_worker(worker: int = 0) -> None:
    """Make this process a DataLoader's worker that takes one core and ends where it cannot hand a batch over.

    More threads of NumPy's matrix products spin, and take the other workers' cores: two processes rendered less than half as
    many heads on two cores. And a batch that does not fit into shared memory would be waited for for ever.
    """
    threadpool_limits(1, user_api="blas")
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_give_up)  # type: ignore[attr-defined]


def _give_up(error: Exception, item: object) -> None:
    """End this process by the signal of a full /dev/shm, which torch tells from others and one line explains."""
    if "shared memory" not in str(error):
        traceback.print_exception(error)
    os.kill(os.getpid(), signal.SIGBUS)


def keep_freed_memory() -> None:
    """Have glibc keep what training frees instead of giving it back to the system.

    A step frees tensors of many megabytes and asks for the same again in the next one; by default each is given back and
    faulted in anew, page by page. Nothing happens with another C library.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, 2 * GIB - 1)


def start_group(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a program, by `Popen`, at the head of a process group of its own; on Linux it ends when this process is killed.

    It ignores SIGUSR1 and SIGUSR2, by which Slurm warns all processes of a job: this one answers, and ends the program.
    """
    if os.name == "posix":
        options |= {"start_new_session": True, "preexec_fn": _before_exec}
    return subprocess.Popen(command, **options)


def _before_exec() -> None:
    for name in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    die_with_parent()


def end_group(child: "subprocess.Popen[bytes]", seconds: float = 0.0) -> None:
    """End a program that `start_group` started, and all that it has started.

    After SIGTERM it gets some seconds to end by itself; on Windows, which has no such signal, it ends at once.
    """
    if os.name == "posix":
        if seconds:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)  # not SIGINT, which a sweep in a shell's background ignores
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(child.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        child.kill()
    child.wait()


def signal_name(child: "subprocess.Popen[bytes]") -> str | None:
    """Name of the signal that ended a program, such as SIGKILL; None where it ended by itself, and on Windows."""
    return signal.Signals(-child.returncode).name if child.returncode < 0 else None


def die_with_parent() -> None:
    """In a child: end when the process that started it is killed, so that the next sweep finds its folder free."""
    if _prctl is not None:
        pr_set_pdeathsig = 1
        _prctl(pr_set_pdeathsig, signal.SIGKILL)
