"""The forward beside ``clone``, where results lie in fresh pages and where they lie in pages that were used before.

A fresh result is page faults: glibc maps what is larger than 32 MB anew each time, so such results are fresh in every
process that allocates by ``malloc``; smaller ones mostly lie where something was freed. In a process with a longer past
it is a matter of chance, so here it is arranged, for both alike, and the faults are counted.
"""

from __future__ import annotations

import ctypes
import platform
import resource
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, Literal, get_args

import torch

from benchmarks.common import turns
from benchmarks.memory import cases, measure

Pages = Literal["fresh pages", "used pages"]
CLONE = "clone"
# Of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4


def mode(pages: Pages) -> str:
    """The rows' mode."""
    return f"forward, {pages}"


MODES = tuple(mode(pages) for pages in get_args(Pages))


def arranged(pages: Pages) -> bool:
    """Give every tensor from now on such pages; whether that can be had. Nothing takes it back: measure this last."""
    if platform.libc_ver()[0] != "glibc":
        return False
    wanted = {
        "fresh pages": {MMAP_MAX: 1 << 16, MMAP_THRESHOLD: 1 << 20},
        "used pages": {MMAP_MAX: 0, TRIM_THRESHOLD: (1 << 31) - 1},
    }[pages]
    libc = ctypes.CDLL(None)
    return all(libc.mallopt(name, value) == 1 for name, value in wanted.items())


def give_back() -> None:
    """What is freed, to the system: malloc looks there before it maps anything."""
    ctypes.CDLL(None).malloc_trim(0)


def timed(work: Callable[[], object], pages: Pages) -> tuple[float, int]:
    """Seconds and page faults."""
    if pages == "fresh pages":
        give_back()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    taken = measure.timed(work)
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def rows(case: cases.Case, seconds: float) -> list[dict[str, Any]]:
    """For each kind of pages, one row of the kernel and one of ``clone``, timed in turns."""
    inputs = case.inputs()
    plain = inputs.arguments(tuple(tensor.detach() for tensor in inputs.tensors()))
    ours = cases.providers(compiled=False)[cases.OURS]
    found = []
    for pages in get_args(Pages):
        if not arranged(pages):
            return []
        steps = {
            cases.OURS: partial(timed, lambda: ours(*plain), pages),
            CLONE: partial(timed, inputs.features.clone, pages),
        }
        with torch.no_grad():
            taken = turns.in_turns(steps, seconds, warm=2, least=5, most=200)
        times = {name: measure.times([time for time, _ in each]) for name, each in taken.items()}
        found += [
            {
                "case": case.sizes(),
                "mode": mode(pages),
                "provider": name,
                "median_ms": times[name].median * 1e3,
                "quartiles_ms": [bound * 1e3 for bound in times[name].quartiles],
                "least_ms": times[name].least * 1e3,
                "rounds": times[name].rounds,
                "times_ours": times[name].median / times[cases.OURS].median,
                "times_clone": times[name].median / times[CLONE].median,
                "faults": int(median(faults for _, faults in taken[name])),
            }
            for name in steps
        ]
    return found
