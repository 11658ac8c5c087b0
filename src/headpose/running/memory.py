"""How the process keeps its memory."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
GIB = 2**30


def keep_freed_memory() -> bool:
    """Have glibc keep what training frees instead of giving it back to the system.

    A step frees tensors of many megabytes and asks for the same again in the next one; by default each is given back and
    faulted in anew, page by page. Nothing happens with another C library.

    Returns:
        whether the allocator was told.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2 * GIB - 1))
