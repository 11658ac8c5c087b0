"""Cores, threads and memory of this process."""

import contextlib
import ctypes
import os
import sys

from threadpoolctl import threadpool_limits

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
GIB = 2**30


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread(worker: int = 0) -> None:
    """Keep NumPy's matrix products in this process, a worker, to one thread: more spin, and take the other workers' cores.

    Two processes rendered less than half as many heads on two cores without it.
    """
    threadpool_limits(1, user_api="blas")


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
