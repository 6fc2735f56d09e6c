"""The forward beside ``clone``, where results lie in fresh pages and where they lie in pages that were used before.

A fresh result is page faults: glibc maps what is larger than 32 MB anew each time, so such results are fresh in every
process that allocates by ``malloc``; smaller ones mostly lie where something was freed. In a process with a longer past
it is a matter of chance, so here it is arranged, for both alike, and the faults are counted: glibc is told by its
variables, before it has given out anything, in a process for each kind.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.common import turns
from benchmarks.memory import cases, measure

CLONE = "clone"
KINDS = {  # glibc's variables
    "fresh pages": {"MALLOC_MMAP_MAX_": "65536", "MALLOC_MMAP_THRESHOLD_": str(2**20)},
    "used pages": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)},
}


def mode(kind: str) -> str:
    """The rows' mode."""
    return f"forward, {kind}"


MODES = tuple(mode(kind) for kind in KINDS)


def rows(case: cases.Case, seconds: float) -> list[dict[str, Any]]:
    """For each kind of pages, one row of the kernel and one of ``clone``; none where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return []
    told = {"case": asdict(case), "seconds": seconds, "threads": torch.get_num_threads()}
    found = []
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    for kind, variables in KINDS.items():
        command = [sys.executable, "-m", "benchmarks.memory.pages", json.dumps({**told, "kind": kind})]
        done = subprocess.run(
            command, env={**plain, **variables}, check=True, stdout=subprocess.PIPE, text=True
        )
        found += json.loads(done.stdout)
    return found


def rows_here(case: cases.Case, seconds: float, kind: str) -> list[dict[str, Any]]:
    """The rows of one kind, timed in turns; this process must have been started with its variables."""
    inputs = case.inputs()
    plain = inputs.arguments(tuple(tensor.detach() for tensor in inputs.tensors()))
    ours = cases.providers(compiled=False)[cases.OURS]
    steps = {
        cases.OURS: partial(timed, lambda: ours(*plain)),
        CLONE: partial(timed, inputs.features.clone),
    }
    with torch.no_grad():
        taken = turns.in_turns(steps, seconds, warm=2, least=5, most=200)
    times = {name: measure.times([time for time, _ in each]) for name, each in taken.items()}
    return [
        {
            "case": case.sizes(),
            "mode": mode(kind),
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


def timed(work: Callable[[], object]) -> tuple[float, int]:
    """Seconds and page faults."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    taken = measure.timed(work)
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    print(json.dumps(rows_here(cases.Case(**asked["case"]), asked["seconds"], asked["kind"])))
