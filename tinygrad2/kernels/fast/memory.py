"""Keeping freed memory for the next step.

A training step allocates and frees the same arrays every time. The C library of Linux gives large ones back to the
system at once, which then clears every page anew: a third of a small model's step. Two of its settings stop that.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """From now on this process reuses the memory it frees. Does nothing where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the largest it accepts: arrays up to 32 MB come from the heap
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def peak_memory() -> int:
    """The most memory, in bytes, that this process has held at once; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:  # on Windows
            return 0
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
