"""Every way to compute a thing once a round, so that a busy moment of the machine falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Taken = TypeVar("Taken")


def in_turns(
    steps: Mapping[str, Callable[[], Taken]], seconds: float, *, warm: int, least: int, most: int
) -> dict[str, list[Taken]]:
    """What each step returned, round by round: ``least`` rounds, more until ``seconds`` are over, ``most`` at most.

    ``warm`` rounds before are not kept.
    """
    for step in steps.values():
        for _ in range(warm):
            step()
    taken: dict[str, list[Taken]] = {name: [] for name in steps}
    begun, rounds = time.perf_counter(), 0
    while rounds < least or (rounds < most and time.perf_counter() - begun < seconds):
        for name, step in steps.items():
            taken[name].append(step())
        rounds += 1
    return taken
