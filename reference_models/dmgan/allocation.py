"""Memory that a program is done with, kept for its next tensor.

glibc gives every block above 32 MB back to the system when it is freed. Networks on a CPU free and ask for such
blocks in each layer, and the system has to zero their pages each time anew. :func:`keep_freed_memory` keeps them:
no result changes, and the process stays as large as it once was. (It grows a little at first: an aligned block leaves
a small remainder behind, and glibc sets the first seven of a size aside before it joins freed neighbours.) What is
gained is measured in docs/speed.md.
"""

from __future__ import annotations

import ctypes
import platform

# mallopt(3). -1 disables trimming.
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """From now on until the process ends. False where the C library is not glibc: nothing is changed."""
    return _set({MMAP_MAX: 0, TRIM_THRESHOLD: -1})


def give_back_freed_memory() -> None:
    """Once: what is free now goes back to the system, so that a process's size says what it holds."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _set(options: dict[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    done = [library.mallopt(option, value) for option, value in options.items()]
    return done == [1] * len(options)
