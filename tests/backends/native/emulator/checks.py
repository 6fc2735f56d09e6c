"""What emulated kernels are held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from tests.backends.native.emulator.driver import Case, run
from tests.backends.native.emulator.plain_case import PlainCase
from tests.backends.native.inputs import error

# Of a result's error where it is not compared with the definition's: what more than rounding would pass.
WORST = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
WORST_TF32 = 5e-3


def dtype_of(case: Case | PlainCase) -> torch.dtype:
    """That its tensors are stored in."""
    return case.inputs.features.dtype if isinstance(case, Case) else next(iter(case.inputs.values())).dtype


def wrong(case: Case | PlainCase, folder: Path, worst: float | None = None) -> list[str]:
    """What the driver left of a case that is not what the definition says, up to an error of ``worst``."""
    found = case.read(folder)
    if isinstance(case, Case):
        wide, exact = case.inputs.exact(case.op)
        results = exact if case.attention else exact[:1]
        right = dict(zip(found, (*results, *case.derivatives(wide, exact)), strict=True))
    else:
        right = case.defined(torch.float64)
    if worst is None:
        worst = WORST_TF32 if isinstance(case, Case) and case.tf32 else WORST[dtype_of(case)]
    sizes = {name: float(value.detach().abs().max()) for name, value in right.items() if value.numel()}
    least = 1e-3 * max(sizes.values(), default=0.0)  # of what is more than the others' rounding
    return [
        f"{name}: an error of {error(mine, right[name]):.1e}"
        for name, mine in found.items()
        if sizes.get(name, 0.0) > least and not error(mine, right[name]) <= worst
    ]


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
