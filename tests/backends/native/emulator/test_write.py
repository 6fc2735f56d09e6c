"""The CUDA kernels of memory_write, emulated on the CPU from the same source, equal the definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.backends.native.emulator.checks import (
    assert_all_as_exact,
    assert_as_exact_as_the_definition,
    assert_nan_spreads_as_in_the_definition,
    assert_same_in_any_order,
)
from tests.backends.native.emulator.driver import DTYPES, launches, run
from tests.backends.native.emulator.plain_case import write_case
from tests.backends.native.test_memory_write import write_inputs

SHAPES = {  # B, L, E, C, M
    "primes": (3, 5, 7, 11, 13),
    "many images in a tile of rows, many tiles": (23, 2, 37, 41, 67),
    "an image over tiles of rows": (2, 35, 33, 3, 70),
    "a sum that many blocks share": (5, 77, 20, 3, 40),
    "one of each": (1, 1, 1, 1, 1),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_and_gradients_are_as_exact_as_the_definition_s(
    dtype: torch.dtype, program: Path, tmp_path: Path
) -> None:
    cases = [
        write_case(write_inputs(shape, dtype), seed=index) for index, shape in enumerate(SHAPES.values())
    ]
    assert_all_as_exact(program, tmp_path, cases)


def test_no_words_no_images_no_features(program: Path, tmp_path: Path) -> None:
    shapes = [(2, 0, 3, 4, 5), (0, 3, 3, 4, 5), (2, 3, 0, 4, 5), (2, 3, 4, 0, 5)]
    assert_all_as_exact(program, tmp_path, [write_case(sized(shape)) for shape in shapes])


def sized(shape: tuple[int, int, int, int, int]) -> tuple[torch.Tensor, ...]:
    """``write_inputs`` also where there are no features, whose root is nothing to divide by."""
    B, L, E, C, M = shape
    whole = write_inputs((B, L, max(E, 1), max(C, 1), M))
    ends = (E, C, E, None, C, None, E, C)
    return tuple(t.detach()[..., :end].contiguous() for t, end in zip(whole, ends))


def test_results_do_not_depend_on_the_order_in_which_threads_run(program: Path, tmp_path: Path) -> None:
    inputs = write_inputs(SHAPES["an image over tiles of rows"], torch.float32)
    assert_same_in_any_order(program, tmp_path, lambda: write_case(inputs))


def test_a_nan_spreads_as_in_the_definition(program: Path, tmp_path: Path) -> None:
    inputs = tuple(t.detach() for t in write_inputs((2, 3, 4, 3, 5)))
    inputs[0][1, 2, 0] = float("nan")
    assert_nan_spreads_as_in_the_definition(program, tmp_path, write_case(inputs))


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
