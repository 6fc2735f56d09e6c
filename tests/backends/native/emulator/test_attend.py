"""The CUDA kernels, emulated on the CPU from the same source, equal the definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.backends.native.emulator.checks import wrong
from tests.backends.native.emulator.driver import Case, launches, run
from tests.backends.native.inputs import Inputs, error

OPS = ("memory_read", "memory_refine")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def assert_as_exact_as_the_definition(case: Case, found: dict[str, torch.Tensor]) -> None:
    """At most twice the definition's error in the same dtype and two units in the last place, both against float64.

    Two: the kernels add in another order than the definition, which on a dozen numbers is exact by luck.
    """
    dtype = case.inputs.features.dtype
    wide, exact = case.inputs.exact(case.op)
    tensors = tuple(t.requires_grad_() for t in case.inputs.floating(case.op))
    plain = case.inputs.defined(case.op)
    names = ["out", "attention"] if case.attention else ["out"]
    right = dict(zip(names, exact)) | dict(zip(list(found)[len(names) :], case.derivatives(wide, exact)))
    same = dict(zip(names, plain)) | dict(
        zip(list(found)[len(names) :], case.derivatives(case.inputs, plain))
    )
    assert len(tensors) == len(found) - len(names)
    unit = torch.finfo(dtype).eps * (40 if dtype == torch.float64 else 2)
    if case.tf32:
        unit = 2.0**-9  # factors of 11 bits in four products that follow each other
    worst = max(error(same[name], right[name]) for name in found)
    for name, mine in found.items():
        assert mine.shape == right[name].shape
        assert not mine.isnan().any(), f"{name} was not written"
        if right[name].numel() and not right[name].any():
            # The scores' gradients of a single word: nothing but rounding.
            largest = max(float(part.detach().abs().max()) for part in right.values() if part.numel())
            assert mine.abs().max() <= unit * largest, name
            continue
        # A single number (the bias's gradient, a sum of hundreds of either sign) is exact or not by luck.
        allowed = 4 * worst + 4 * unit if right[name].numel() == 1 else error(same[name], right[name])
        assert error(mine, right[name]) <= 2 * allowed + unit, (name, error(mine, right[name]), allowed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_results_and_gradients_are_as_exact_as_the_definition_s(
    op: str, dtype: torch.dtype, program: Path, tmp_path: Path
) -> None:
    shapes: list[dict[str, int]] = [
        {"batch": 3, "channels": 5, "height": 7, "width": 11, "words": 13},
        {"batch": 1, "channels": 1, "height": 1, "width": 1, "words": 1},
    ]
    cases = [
        Case(op, Inputs.random(**shape, dtype=dtype, channels_last=last), seed=index)
        for index, (shape, last) in enumerate((shape, last) for shape in shapes for last in (False, True))
    ]
    for case, found in zip(cases, run(program, tmp_path, *cases)):
        assert_as_exact_as_the_definition(case, found)


TILES: dict[str, dict[str, int]] = {
    "paper": {"batch": 2, "channels": 32, "height": 12, "width": 12, "words": 18},
    "no tile": {"batch": 2, "channels": 20, "height": 9, "width": 11, "words": 31},
    "several tiles a block": {"batch": 2, "channels": 64, "height": 23, "width": 23, "words": 14},
    "two passes": {"batch": 1, "channels": 24, "height": 5, "width": 16, "words": 41},
    "eight warps": {"batch": 1, "channels": 100, "height": 20, "width": 25, "words": 20},
    "eight warps, many words": {"batch": 1, "channels": 128, "height": 9, "width": 24, "words": 77},
    "sums in memory": {"batch": 1, "channels": 132, "height": 9, "width": 24, "words": 20},
    "many words": {"batch": 1, "channels": 16, "height": 6, "width": 8, "words": 128},
    "the most": {"batch": 1, "channels": 256, "height": 3, "width": 7, "words": 128},
}


@pytest.mark.parametrize("dtype", ["tf32", torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", TILES)
def test_tiles_of_pixels_on_tensor_cores(
    shape: str, dtype: torch.dtype | str, program: Path, tmp_path: Path
) -> None:
    tf32 = dtype == "tf32"
    stored = torch.float32 if isinstance(dtype, str) else dtype
    cases = [
        Case(op, Inputs.random(**TILES[shape], dtype=stored, channels_last=op == "memory_read"), tf32=tf32)
        for op in OPS
    ]
    for case in cases:
        case.inputs.scale = case.inputs.features.shape[1] ** -0.5  # attention that is no single word's
    for case, found in zip(cases, run(program, tmp_path, *cases)):
        assert_as_exact_as_the_definition(case, found)


def test_long_sums_of_float32_are_rounded_not_cut_off(program: Path, tmp_path: Path) -> None:
    """As a tensor core would: of terms of one sign each addition then loses, and the loss grows with their number."""
    inputs = Inputs.random(batch=1, channels=16, height=64, width=64, words=3, dtype=torch.float32)
    inputs.features.abs_()
    case = Case("memory_read", inputs, attention=False, given=False)
    case.grad.abs_()
    (found,) = run(program, tmp_path, case)
    assert_as_exact_as_the_definition(case, found)
    assert wrong(case, tmp_path / "0", 4e-7) == []


@pytest.mark.parametrize("op", OPS)
def test_no_words_no_pixels_no_images_and_words_that_are_all_padding(
    op: str, program: Path, tmp_path: Path
) -> None:
    cases = [
        Case(op, Inputs.random(**{"batch": 2, "channels": 3, "height": 2, "width": 3, "words": 4, **size}))
        for size in ({"words": 0}, {"height": 0}, {"batch": 0}, {})
    ]
    cases[-1].inputs.mask = torch.tensor([[True, True, False, True], [False] * 4])
    cases[-1].inputs.keys[~cases[-1].inputs.mask] = float("nan")
    *empty, masked = run(program, tmp_path, *cases)
    for case, found in zip(cases, empty):
        assert_as_exact_as_the_definition(case, found)
    assert not masked["attention"][1].any()
    assert not masked["grad_keys"][~cases[-1].inputs.mask].any()
    cases[-1].inputs.keys.nan_to_num_()
    assert_as_exact_as_the_definition(cases[-1], masked)


def test_attention_is_written_only_when_asked_for_and_its_gradient_is_optional(
    program: Path, tmp_path: Path
) -> None:
    cases = [
        Case("memory_refine", Inputs.random(), attention=a, given=g)
        for a in (True, False)
        for g in (True, False)
    ]
    for case, found in zip(cases, run(program, tmp_path, *cases)):
        assert ("attention" in found) == case.attention
        assert_as_exact_as_the_definition(case, found)


@pytest.mark.parametrize("dtype", ["tf32", torch.bfloat16], ids=str)
def test_attention_s_own_gradient_passes_a_gate_that_is_shut(
    dtype: torch.dtype | str, program: Path, tmp_path: Path
) -> None:
    stored = torch.float32 if isinstance(dtype, str) else dtype
    inputs = Inputs.random(**TILES["paper"], dtype=stored)
    inputs.bias = torch.full_like(inputs.bias, -300.0)  # whose sigmoid is zero in float32
    inputs.scale = 0.2
    case = Case("memory_refine", inputs, tf32=dtype == "tf32")
    (found,) = run(program, tmp_path, case)
    wide, exact = inputs.exact(case.op)
    right = dict(zip(list(found)[2:], case.derivatives(wide, exact)))
    assert right["grad_keys"].abs().max() > 0.1
    assert error(found["grad_keys"], right["grad_keys"]) < 0.01
    assert found["grad_values"].abs().max() < 1e-20


@pytest.mark.parametrize("dtype", ["tf32", torch.float32, torch.bfloat16], ids=str)
def test_a_gpu_with_less_shared_memory_gets_other_tiles_and_the_same_results(
    dtype: torch.dtype | str, program: Path, tmp_path: Path
) -> None:
    stored = torch.float32 if isinstance(dtype, str) else dtype
    inputs = Inputs.random(batch=1, channels=64, height=5, width=20, words=18, dtype=stored)
    inputs.scale = 0.125
    kilobytes = (227, 99, 40, 24, 8)  # fewer warps, sums in memory, any sizes
    cases = [Case("memory_refine", inputs, tf32=dtype == "tf32", shared=size << 10) for size in kilobytes]
    for case, found in zip(cases, run(program, tmp_path, *cases)):
        assert_as_exact_as_the_definition(case, found)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_do_not_depend_on_the_order_in_which_threads_take_turns(
    dtype: torch.dtype, program: Path, tmp_path: Path
) -> None:
    inputs = Inputs.random(batch=2, channels=20, height=9, width=11, words=9, dtype=dtype)
    first, *others = run(program, tmp_path, *(Case("memory_refine", inputs, seed=seed) for seed in range(3)))
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_tensors_may_begin_anywhere_in_memory(dtype: torch.dtype, program: Path, tmp_path: Path) -> None:
    inputs = Inputs.random(batch=2, channels=16, height=8, width=10, words=9, dtype=dtype)

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        return torch.cat([tensor.new_zeros(1), tensor.flatten()])[1:].view(tensor.shape)

    inputs.features, inputs.keys, inputs.values = map(moved, (inputs.features, inputs.keys, inputs.values))
    case = Case("memory_refine", inputs)
    case.grad = moved(case.grad)
    (found,) = run(program, tmp_path, case)
    assert_as_exact_as_the_definition(case, found)


def test_refining_is_one_launch(program: Path, tmp_path: Path) -> None:
    run(program, tmp_path, Case("memory_refine", Inputs.random(batch=2, dtype=torch.float32)))
    assert launches(tmp_path / "0")["forward"] == 1


def test_the_program_s_results_are_held_against_the_definition(program: Path, tmp_path: Path) -> None:
    case = Case("memory_refine", Inputs.random(dtype=torch.float32))
    run(program, tmp_path, case)
    assert wrong(case, tmp_path / "0") == []
    case.inputs.keys *= 1.001
    (first, *_) = wrong(case, tmp_path / "0")
    assert first.startswith("out: an error of")
