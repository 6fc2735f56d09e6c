"""Memory that is kept costs no new pages."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
import torch
from reference_models.dmgan.allocation import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    assert keep_freed_memory()
first, *_, last = [pages() for _ in range(16)]
print(last / first)
"""


def new_pages(mode: str) -> float:
    """Page faults of the last of sixteen tensors of one size, as a share of the first's."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_a_large_tensor_takes_the_pages_of_the_one_before_it() -> None:
    assert new_pages("keep") < 0.05
    assert new_pages("leave") > 0.5
