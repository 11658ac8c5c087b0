"""Worker processes side by side."""

import os

from threadpoolctl import threadpool_limits


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread(worker: int = 0) -> None:
    """Keep NumPy's matrix products in this process, a worker, to one thread: more spin, and take the other workers' cores.

    Two processes rendered less than half as many heads on two cores without it.
    """
    threadpool_limits(1, user_api="blas")
