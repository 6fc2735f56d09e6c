"""Memory that a program is done with, kept for its next tensor.

glibc gives every block above 32 MB back to the system when it is freed. Networks on a CPU free and ask for such
blocks in each layer, and the system has to zero their pages each time anew: a quarter of the time of the plain
form's sampling is spent there. :func:`keep_freed_memory` keeps them: no result changes, and the process stays as
large as it once was.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt(3). -1 disables trimming.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
MEGABYTE = 2**20


def keep_freed_memory() -> bool:
    """From now on until the process ends. False where the C library is not glibc: nothing is changed."""
    return _set({MMAP_MAX: 0, TRIM_THRESHOLD: -1})


@contextmanager
def kept_memory() -> Iterator[bool]:
    """:func:`keep_freed_memory` for a block; afterwards what was kept goes back to the system.

    What follows runs with the thresholds that glibc arrives at by itself, after the first large block: 32 MB to map
    and twice that to trim.
    """
    done = keep_freed_memory()
    try:
        yield done
    finally:
        if done:
            _set({MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 * MEGABYTE, TRIM_THRESHOLD: 64 * MEGABYTE})
            ctypes.CDLL(None).malloc_trim(0)


def _set(options: dict[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    done = [library.mallopt(option, value) for option, value in options.items()]
    return done == [1] * len(options)
