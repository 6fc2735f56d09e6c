"""Runs that show what a kernel leaves unwritten, and what depends on the run or on the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def nan_where_unwritten() -> Iterator[None]:
    """Empty tensors are filled with NaN."""
    before = torch.utils.deterministic.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = True
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = before


def assert_same_on_any_number_of_threads(call: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
    """The same bits twice on one thread, on two and on three; returns what ``call`` gave first."""
    threads, seen = torch.get_num_threads(), []
    try:
        for count in (1, 1, 2, 3):
            torch.set_num_threads(count)
            seen.append(call())
    finally:
        torch.set_num_threads(threads)
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))
    return seen[0]
