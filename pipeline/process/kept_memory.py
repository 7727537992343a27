"""Keep the memory of tensors and arrays for the next ones, instead of giving it back to the system each time."""

from __future__ import annotations

import ctypes
import os

KEPT = {"TF_CPU_ALLOCATOR_USE_BFC": "1"}
"""Environment variables of our own programs and their worker processes; the user's own values override them.

Where TensorFlow computes without oneDNN, its default on processors without VNNI, it takes every tensor from malloc,
which maps and unmaps those above 32 MB: 104,000 page faults for each megapixel. Its own allocator keeps them.
"""

ARENAS = -8
TRIM_THRESHOLD = -1
MMAP_THRESHOLD = -3
MALLOC = ((ARENAS, 1), (MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 2**31 - 1))
"""Parameters of glibc's mallopt(3), as its malloc.h numbers them.

Arrays of up to 32 MB, the most that it allows, come from one heap that never shrinks. The arenas of threads are heaps
of 64 MB at most, which are trimmed and grown again at every call of the network.
"""

USERS = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
"""Environment variables with which a user sets malloc up; then it is left alone."""


def keep_memory() -> None:
    """Make malloc and TensorFlow, which must not be loaded yet, keep memory in this process.

    Worker processes inherit the environment, and call this themselves.
    """
    for name, value in KEPT.items():
        os.environ.setdefault(name, value)
    set_malloc = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_malloc is not None and not any(name in os.environ for name in USERS):
        for parameter, number in MALLOC:
            set_malloc(parameter, number)
