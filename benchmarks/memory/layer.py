"""``DynamicMemory`` as a whole, on its kernels and on the definition: mean, write, project, read and respond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import memgan
from benchmarks.memory import measure, on_cuda
from benchmarks.memory.cases import OURS, Case, Inputs
from benchmarks.memory.measure import Step

WORD_FEATURES = 256
PROVIDERS = {OURS: "native", "definition, eager": "reference"}
MODES = ("layer, forward", "layer, forward+backward")


def step(case: Case, inputs: Inputs, memory: memgan.DynamicMemory, mode: str, backend: Any) -> Step:
    """One call of the layer; with its backward, one of all its gradients."""
    made = torch.Generator().manual_seed(1)
    words = torch.randn(case.images, case.words, WORD_FEATURES, generator=made)
    words = words.to(case.device, case.stored).requires_grad_()

    def work(each: Inputs) -> Callable[[], object]:
        features = each.features.detach().requires_grad_()
        wanted = (features, words, *memory.parameters())

        def forward() -> object:
            with torch.no_grad(), memgan.use_backend(backend):
                return memory(features, words, each.mask)[0]

        def both() -> object:
            with memgan.use_backend(backend):
                return torch.autograd.grad(memory(features, words, each.mask)[0], wanted, each.grad)

        return forward if mode == MODES[0] else both

    if case.device == "cuda":
        return on_cuda.replayed(inputs, work)
    once = work(inputs)
    return lambda: measure.timed(once)


def rows(case: Case, seconds: float) -> list[dict[str, Any]]:
    """One row a mode and provider."""
    torch.backends.cuda.matmul.allow_tf32 = case.dtype == "tf32"
    inputs = case.inputs()
    torch.manual_seed(0)
    memory = memgan.DynamicMemory(case.channels, WORD_FEATURES).to(case.device, case.stored)
    found = []
    for mode in MODES:
        steps = {name: step(case, inputs, memory, mode, backend) for name, backend in PROVIDERS.items()}
        by = {
            name: (on_cuda if case.device == "cuda" else measure).timed_by(each)
            for name, each in steps.items()
        }
        times = measure.in_turns(steps, seconds)
        del steps
        found += [
            {
                "case": case.sizes(),
                "mode": mode,
                "provider": name,
                **taken.row(),
                "times_ours": taken.median / times[OURS].median,
                "timed_by": by[name],
            }
            for name, taken in times.items()
        ]
    return found


def print_rows(found: list[dict[str, Any]]) -> None:
    """For people."""
    for row in found:
        told = f"{row['case']['name']:16s} {row['case']['dtype']:9s} {row['mode']:24s} {row['provider']:20s}"
        print(f"{told}{row['median_ms']:9.3f} ms, {row['times_ours']:.1f} x ours")
