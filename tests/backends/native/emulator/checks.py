"""What the emulated kernels of write and of project are both held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from tests.backends.native.emulator.driver import run
from tests.backends.native.emulator.plain_case import PlainCase
from tests.backends.native.inputs import error


def assert_as_exact_as_the_definition(case: PlainCase, found: dict[str, torch.Tensor]) -> None:
    """At most twice the definition's error in the same dtype and two units in the last place, both against float64."""
    dtype = next(iter(case.inputs.values())).dtype
    same, right = case.defined(), case.defined(torch.float64)
    unit = torch.finfo(dtype).eps * (40 if dtype == torch.float64 else 2)
    for name, mine in found.items():
        assert mine.shape == right[name].shape
        assert not mine.isnan().any(), f"{name} was not written"
        worst = error(mine, right[name])
        assert worst <= 2 * error(same[name], right[name]) + unit, (name, worst)


def assert_all_as_exact(program: Path, folder: Path, cases: list[PlainCase]) -> None:
    """Run them in one process."""
    for case, found in zip(cases, run(program, folder, *cases), strict=True):
        assert_as_exact_as_the_definition(case, found)


def assert_same_in_any_order(program: Path, folder: Path, make: Callable[[], PlainCase]) -> None:
    """The same bits, whichever thread runs first."""
    cases = [make() for _ in range(3)]
    for seed, case in enumerate(cases):
        case.seed = seed
    first, *others = run(program, folder, *cases)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def assert_nan_spreads_as_in_the_definition(program: Path, folder: Path, case: PlainCase) -> None:
    """The same elements are NaN, of results and of gradients."""
    (found,) = run(program, folder, case)
    for name, right in case.defined().items():
        assert torch.equal(found[name].isnan(), right.isnan()), name
