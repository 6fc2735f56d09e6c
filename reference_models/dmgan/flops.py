"""Floating-point operations, counted as the layers compute them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.flop_counter import FlopCounterMode


@contextmanager
def count_flops() -> Iterator[FlopCounterMode]:
    """A counter of torch's own operations in the block; a multiplication and its addition count 2.

    >>> import torch
    >>> with count_flops() as counter:
    ...     _ = torch.zeros(2, 3) @ torch.zeros(3, 5)
    >>> counter.get_total_flops()
    60
    """
    with FlopCounterMode(display=False) as counter:
        # Its hooks on all modules, which name each module's share, make a layer call parts that it else computes
        # together: what is counted would not be what is computed.
        counter.mod_tracker.__exit__()
        yield counter
