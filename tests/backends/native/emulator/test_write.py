"""The CUDA kernels of memory_write, emulated on the CPU from the same source, equal the definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.backends.native.emulator.driver import launches, run
from tests.backends.native.emulator.plain_case import PlainCase, write_case
from tests.backends.native.inputs import error
from tests.backends.native.test_memory_write import write_inputs

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SHAPES = {  # B, L, E, C, M
    "primes": (3, 5, 7, 11, 13),
    "many images in a tile of rows, many tiles": (23, 2, 37, 41, 67),
    "an image over tiles of rows": (2, 35, 33, 3, 70),
    "a sum that many blocks share": (5, 77, 20, 3, 40),
    "one of each": (1, 1, 1, 1, 1),
}


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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_and_gradients_are_as_exact_as_the_definition_s(
    dtype: torch.dtype, program: Path, tmp_path: Path
) -> None:
    cases = [
        write_case(write_inputs(shape, dtype), seed=index) for index, shape in enumerate(SHAPES.values())
    ]
    for case, found in zip(cases, run(program, tmp_path, *cases)):
        assert_as_exact_as_the_definition(case, found)


def test_no_words_no_images_no_features(program: Path, tmp_path: Path) -> None:
    shapes = [(2, 0, 3, 4, 5), (0, 3, 3, 4, 5), (2, 3, 0, 4, 5), (2, 3, 4, 0, 5)]
    cases = [write_case(sized(shape)) for shape in shapes]
    for case, found in zip(cases, run(program, tmp_path, *cases)):
        assert_as_exact_as_the_definition(case, found)


def sized(shape: tuple[int, int, int, int, int]) -> tuple[torch.Tensor, ...]:
    """``write_inputs`` also where there are no features, whose root is nothing to divide by."""
    B, L, E, C, M = shape
    whole = write_inputs((B, L, max(E, 1), max(C, 1), M))
    ends = (E, C, E, None, C, None, E, C)
    return tuple(t.detach()[..., :end].contiguous() for t, end in zip(whole, ends))


def test_results_do_not_depend_on_the_order_in_which_threads_run(program: Path, tmp_path: Path) -> None:
    inputs = write_inputs(SHAPES["an image over tiles of rows"], torch.float32)
    cases = [write_case(inputs) for _ in range(3)]
    for seed, case in enumerate(cases):
        case.seed = seed
    first, *others = run(program, tmp_path, *cases)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_a_nan_spreads_as_in_the_definition(program: Path, tmp_path: Path) -> None:
    inputs = tuple(t.detach() for t in write_inputs((2, 3, 4, 3, 5)))
    inputs[0][1, 2, 0] = float("nan")
    case = write_case(inputs)
    (found,) = run(program, tmp_path, case)
    for name, right in case.defined().items():
        assert torch.equal(found[name].isnan(), right.isnan()), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_padding_counts_as_zeros_and_gets_no_gradient(
    dtype: torch.dtype, program: Path, tmp_path: Path
) -> None:
    cases = []
    for shape in ((2, 35, 33, 3, 70), (3, 5, 7, 11, 13)):
        inputs = tuple(t.detach() for t in write_inputs(shape, dtype))
        mask = torch.rand(shape[:2], generator=torch.Generator().manual_seed(1)) > 0.4
        mask[1] = False
        inputs[0][~mask] = float("nan")
        cases.append(write_case(inputs, mask=mask))
    for case, found in zip(cases, run(program, tmp_path, *cases)):
        assert_as_exact_as_the_definition(case, found)
        assert case.mask is not None
        assert not found["grad_words"][~case.mask].any()


def test_forward_is_one_launch_and_backward_three(program: Path, tmp_path: Path) -> None:
    run(program, tmp_path, write_case(write_inputs((2, 35, 33, 3, 70), torch.float32)))
    assert launches(tmp_path / "0") == {"forward": 1, "backward": 3}
