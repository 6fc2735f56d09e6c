"""The CUDA kernels of memory_project, emulated on the CPU from the same source, equal the definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.backends.native.emulator.checks import (
    assert_all_as_exact,
    assert_nan_spreads_as_in_the_definition,
    assert_same_in_any_order,
)
from tests.backends.native.emulator.driver import DTYPES, launches, run
from tests.backends.native.emulator.plain_case import project_case
from tests.backends.native.test_memory_project import project_inputs

SHAPES = {  # B, L, M, C, D
    "primes": (3, 5, 7, 11, 13),
    "the paper's": (2, 18, 128, 64, 64),
    "no tile": (2, 35, 70, 33, 67),
    "a sum that many blocks share": (5, 77, 20, 3, 40),
    "one of each": (1, 1, 1, 1, 1),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_and_gradients_are_as_exact_as_the_definition_s(
    dtype: torch.dtype, program: Path, tmp_path: Path
) -> None:
    cases = [
        project_case(project_inputs(shape, dtype), seed=index) for index, shape in enumerate(SHAPES.values())
    ]
    assert_all_as_exact(program, tmp_path, cases)


def test_no_words_no_images_no_memory_no_channels(program: Path, tmp_path: Path) -> None:
    shapes = [(2, 0, 3, 4, 5), (0, 3, 3, 4, 5), (2, 3, 0, 4, 5), (2, 3, 4, 0, 5), (2, 3, 4, 5, 0)]
    assert_all_as_exact(program, tmp_path, [project_case(project_inputs(shape)) for shape in shapes])


def test_results_do_not_depend_on_the_order_in_which_threads_run(program: Path, tmp_path: Path) -> None:
    inputs = project_inputs(SHAPES["no tile"], torch.float32)
    assert_same_in_any_order(program, tmp_path, lambda: project_case(inputs))


def test_a_nan_spreads_as_in_the_definition(program: Path, tmp_path: Path) -> None:
    inputs = tuple(t.detach() for t in project_inputs((2, 3, 4, 3, 5)))
    inputs[0][1, 2, 0] = float("nan")
    assert_nan_spreads_as_in_the_definition(program, tmp_path, project_case(inputs))


def test_forward_is_one_launch_and_backward_two(program: Path, tmp_path: Path) -> None:
    run(program, tmp_path, project_case(project_inputs(SHAPES["the paper's"], torch.float32)))
    assert launches(tmp_path / "0") == {"forward": 1, "backward": 2}
