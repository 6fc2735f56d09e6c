"""Both forms in float64, where rounding is small: is the algebra the same? With every kink, and no allowance."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.model import forms
from benchmarks.model.gate import first_gradients
from reference_models.dmgan.config import Config

BATCH = 2
TOLERANCE = 1e-9
ZERO = 1e-12  # of the largest norm: a gradient below it is no more than rounding


@contextmanager
def short_everywhere() -> Iterator[None]:
    """The short up-sampling in float64 too, where it is not the faster one."""
    module = sys.modules["memgan.ops.upsample_conv"]
    kept = module.short_form_is_faster  # type: ignore[attr-defined]
    module.short_form_is_faster = lambda _: True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.short_form_is_faster = kept  # type: ignore[attr-defined]


def exact(config: Config, say: Callable[[str], object]) -> dict[str, Any]:
    """How far the first step's gradients of both forms are apart in float64, the worst parameter.

    Raises:
        SystemExit: by more than :data:`TOLERANCE` of the gradient's norm.
    """
    device = torch.device("cpu")
    plain = first_gradients(forms.PLAIN, config, BATCH, device, torch.float64)
    with short_everywhere():
        fast = first_gradients(forms.FAST, config, BATCH, device, torch.float64)
    found = compared(plain, fast)
    say(f"float64, {found['parameters']} gradients, {found['zero']} of them zero: {found}")
    if not found["worst"] < TOLERANCE:
        raise SystemExit(f"float64: the forms differ: {found}")
    return {**found, "batch": BATCH}


def compared(plain: dict[str, Tensor], fast: dict[str, Tensor]) -> dict[str, Any]:
    """Counts, the worst relative distance and whose it is, and the largest norm among gradients that are zero."""
    assert plain.keys() == fast.keys()
    largest = max(float(one.norm()) for one in plain.values())
    zero = [name for name, one in plain.items() if float(one.norm()) < ZERO * largest]
    apart = {
        name: float((fast[name] - one).norm() / one.norm()) for name, one in plain.items() if name not in zero
    }
    left = max([float(fast[name].norm()) for name in zero], default=0.0)
    worst = max(apart, key=lambda name: apart[name] if apart[name] == apart[name] else float("inf"))
    return {
        "parameters": len(plain),
        "zero": len(zero),
        "zero_left": left / largest,
        "worst": max(apart[worst], left / largest),
        "worst_name": worst,
        "within_1e-9": sum(distance < 1e-9 for distance in apart.values()),
    }
