"""Timing in turns, peak memory, and the two rates that a floor is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import turns
from benchmarks.memory.cases import Inputs, Refine

Step = Callable[[], float]  # does the work once → seconds of the part that counts


@dataclass(frozen=True)
class Times:
    """Of one provider in one mode, seconds."""

    median: float
    quartiles: tuple[float, float]
    least: float
    rounds: int

    def row(self) -> dict[str, Any]:
        """What a stored row says of them, in milliseconds."""
        return {
            "median_ms": self.median * 1e3,
            "quartiles_ms": [bound * 1e3 for bound in self.quartiles],
            "least_ms": self.least * 1e3,
            "rounds": self.rounds,
        }


def in_turns(steps: Mapping[str, Step], seconds: float, least: int = 5, most: int = 200) -> dict[str, Times]:
    """Every step once a round, so that a busy moment of the machine falls on all of them alike."""
    # Twice to warm: a compiled step compiles in its first round.
    taken = turns.in_turns(steps, seconds, warm=2, least=least, most=most)
    return {name: times(each) for name, each in taken.items()}


def times(taken: list[float]) -> Times:
    """Of one provider, from the seconds of its rounds."""
    low, middle, high = quantiles(taken, n=4) if len(taken) > 1 else (taken[0],) * 3
    return Times(middle, (low, high), min(taken), len(taken))


def timed(work: Callable[[], object]) -> float:
    """Seconds; what it returned is freed after the clock stopped."""
    begun = time.perf_counter()
    result = work()
    taken = time.perf_counter() - begun
    del result  # not before the clock stopped
    return taken


def step(mode: str, refine: Refine, inputs: Inputs) -> Step:
    """One repetition of ``mode``."""
    tensors = inputs.tensors()
    arguments = inputs.arguments(tensors)
    plain = inputs.arguments(tuple(tensor.detach() for tensor in tensors))

    def forward() -> float:
        with torch.no_grad():
            return timed(lambda: refine(*plain))

    def backward() -> float:
        result = refine(*arguments)
        return timed(lambda: torch.autograd.grad(result, tensors, inputs.grad))

    def both() -> float:
        return timed(lambda: torch.autograd.grad(refine(*arguments), tensors, inputs.grad))

    def double() -> float:
        result = refine(*arguments)
        (slope,) = torch.autograd.grad(result, tensors[0], inputs.grad, create_graph=True)
        penalty = slope.square().sum()
        return timed(lambda: torch.autograd.grad(penalty, tensors))

    return {"forward": forward, "backward": backward, "forward+backward": both, "double backward": double}[
        mode
    ]


def error(refine: Refine, exact: Refine, inputs: Inputs) -> float:
    """The largest error of the result and the first gradients, each relative to its largest value, in float64."""
    wide = inputs.double()

    def all_of(function: Refine, given: Inputs) -> tuple[Tensor, ...]:
        tensors = given.tensors()
        result = function(*given.arguments(tensors))
        return (result.detach(), *torch.autograd.grad(result, tensors, given.grad))

    pairs = zip(all_of(refine, inputs), all_of(exact, wide))
    return max(float((mine.double() - right).abs().max() / right.abs().max()) for mine, right in pairs)


def timed_by(step: Step) -> str:
    """How a row came to be."""
    return "wall clock"


def peak_bytes(mode: str, refine: Refine, inputs: Inputs) -> int:
    """The most that torch's allocator held at once during one repetition, beyond what it held before."""
    work = step(mode, refine, inputs)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def rates(inputs: Inputs, seconds: float) -> dict[str, float]:
    """Bytes a second of a copy and of a clone, and FLOP a second of torch's 1024-cubed product."""
    source, target = inputs.features, torch.empty_like(inputs.features)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    times = in_turns(
        {
            "copy": lambda: timed(lambda: target.copy_(source)),
            "clone": lambda: timed(source.clone),
            "gemm": lambda: timed(lambda: a @ b),
        },
        seconds,
    )
    moved = 2 * source.numel() * 4
    return {
        "copy": moved / times["copy"].median,
        "clone": moved / times["clone"].median,
        "clone seconds": times["clone"].median,
        "gemm": 2 * 1024**3 / times["gemm"].median,
    }
