"""How the allocator of the C library goes about memory: what a batch frees is kept for the next."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

# Of mallopt(3); glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
SETTINGS = (
    # Columns of a batch are of some megabytes. Each would be mapped anew, and every page of it asked for again, which
    # took longer than what is done with them.
    (M_MMAP_THRESHOLD, 32 << 20),
    (M_TRIM_THRESHOLD, 64 << 20),
    (M_TOP_PAD, 4 << 20),
    # What is kept is kept by each arena, and there would be eight for each processor.
    (M_ARENA_MAX, 2),
)


def keep_freed_memory() -> None:
    """Have memory that this process frees kept for what it needs next, where the C library is glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    for name, value in SETTINGS:
        mallopt(name, value)
