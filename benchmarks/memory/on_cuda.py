"""The same measurements on a GPU: graph replay over rotated buffers, device events, rates of the unit that is used.

A step is captured once, over as many copies of the inputs as no cache holds, so neither Python's time nor a warm L2 is
in the figures. What cannot be captured is timed by events around plain calls, and its row says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from benchmarks.memory.cases import Inputs, Refine
from benchmarks.memory.measure import Step, in_turns

CACHES = 3  # as many times the L2 are the copies large, at least
GEMM = {torch.float32: 4096, torch.bfloat16: 8192, torch.float16: 8192}


@functools.lru_cache(maxsize=1)
def copies(inputs: Inputs) -> tuple[Inputs, ...]:
    """Copies of the inputs, together larger than the cache."""
    cache = torch.cuda.get_device_properties(inputs.features.device).L2_cache_size
    one = inputs.features.numel() * inputs.features.element_size()
    return tuple(inputs.copy() for _ in range(max(2, 1 + CACHES * cache // one)))


def _works(mode: str, refine: Refine, inputs: Inputs) -> Callable[[], object]:
    """One repetition on one copy; what comes before the part that counts is done here."""
    tensors = inputs.tensors()
    arguments = inputs.arguments(tensors)
    if mode == "forward":
        plain = inputs.arguments(tuple(tensor.detach() for tensor in tensors))

        def forward() -> object:
            with torch.no_grad():
                return refine(*plain)

        return forward
    if mode == "forward+backward":
        return lambda: torch.autograd.grad(refine(*arguments), tensors, inputs.grad)
    result = refine(*arguments)
    if mode == "backward":
        return lambda: torch.autograd.grad(result, tensors, inputs.grad, retain_graph=True)
    (slope,) = torch.autograd.grad(result, tensors[0], inputs.grad, create_graph=True)
    penalty = slope.square().sum()
    return lambda: torch.autograd.grad(penalty, tensors, retain_graph=True)


class Replay:
    """A step: seconds of one repetition, from events around a replay of one on each copy."""

    def __init__(self, works: list[Callable[[], object]], stream: torch.cuda.Stream) -> None:
        self.count, self.stream = len(works), stream
        self.graph: torch.cuda.CUDAGraph | None = torch.cuda.CUDAGraph()
        with torch.cuda.stream(stream):
            for _ in range(2):  # compiles, warms
                for work in works:
                    work()
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(self.graph, stream=stream):
                self.kept = [work() for work in works]  # results do not share memory
        except RuntimeError:  # it waits for the device, or allocates otherwise
            torch.cuda.synchronize()
            self.graph = None
        self.works = works

    def __call__(self) -> float:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with torch.cuda.stream(self.stream):
            begin.record()
            if self.graph is not None:
                self.graph.replay()
            else:
                for work in self.works:
                    work()
            end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3 / self.count


def step(mode: str, refine: Refine, inputs: Inputs) -> Replay:
    """One repetition of ``mode``."""
    return replayed(inputs, lambda each: _works(mode, refine, each))


def replayed(inputs: Inputs, work: Callable[[Inputs], Callable[[], object]]) -> Replay:
    """What ``work`` makes of each copy of the inputs, captured on a stream of its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        works = [work(each) for each in copies(inputs)]
    return Replay(works, stream)


def timed_by(step: Step) -> str:
    """How a row came to be."""
    return "graph replay" if isinstance(step, Replay) and step.graph is not None else "events"


def peak_bytes(mode: str, refine: Refine, inputs: Inputs) -> int:
    """The most that torch's allocator held at once during one repetition, beyond what it held before."""
    work = _works(mode, refine, inputs)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = work()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    del result
    return peak


def rates(inputs: Inputs, seconds: float) -> dict[str, float]:
    """Bytes a second of a copy and of a clone, FLOP a second of a large product in the dtype that is measured."""
    features = inputs.features
    size = GEMM.get(features.dtype, 2048)
    if features.numel() < 1 << 20:  # --quick
        size = 256
    a, b = (torch.randn(size, size, device=features.device, dtype=features.dtype) for _ in range(2))
    targets = [torch.empty_like(each.features) for each in copies(inputs)]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    works: dict[str, list[Callable[[], object]]] = {
        "copy": [
            functools.partial(target.copy_, each.features) for target, each in zip(targets, copies(inputs))
        ],
        "clone": [each.features.clone for each in copies(inputs)],
        "gemm": [functools.partial(torch.mm, a, b)],
    }
    times = in_turns({name: Replay(each, stream) for name, each in works.items()}, seconds)
    moved = 2 * features.numel() * features.element_size()
    return {
        "copy": moved / times["copy"].median,
        "clone": moved / times["clone"].median,
        "clone seconds": times["clone"].median,
        "gemm": 2 * size**3 / times["gemm"].median,
    }
