"""The fused write equals the definition: results and derivatives, whatever shape and dtype."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import memgan
from memgan.backends import native, reference
from tests.backends.native.inputs import error
from tests.backends.native.runs import assert_same_on_any_number_of_threads, nan_where_unwritten

DTYPES = (torch.float64, torch.float32, torch.bfloat16)
SHAPES = {  # B, L, E, C, M
    "primes": (3, 5, 7, 11, 13),
    "paper": (10, 18, 256, 64, 128),
    "no tile": (2, 77, 64, 128, 130),
    "one image over an item": (3, 101, 5, 6, 70),
    "one of each": (1, 1, 1, 1, 1),
}


def write_inputs(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, ...]:
    B, L, E, C, M = shape
    made = torch.Generator().manual_seed(3)

    def normal(*size: int, deviation: float = 1.0) -> torch.Tensor:
        numbers = deviation * torch.randn(*size, generator=made, dtype=torch.float64)
        return numbers.to(dtype).requires_grad_()

    of_words, of_image = E**-0.5, C**-0.5  # as weights are: gates are half open rather than shut
    return (
        normal(B, L, E),
        normal(B, C),
        normal(M, E, deviation=of_words),
        normal(M),
        normal(M, C, deviation=of_image),
        normal(M),
        normal(1, E, deviation=of_words),
        normal(1, C, deviation=of_image),
    )


def gradients(
    result: torch.Tensor, inputs: tuple[torch.Tensor, ...], dtype: torch.dtype | None = None
) -> tuple[torch.Tensor, ...]:
    """``dtype``: of the calculation that this one is compared with, so that both get the very same gradient."""
    made = torch.Generator().manual_seed(5)
    grad = torch.randn(result.shape, generator=made, dtype=torch.float64).to(dtype or result.dtype)
    return torch.autograd.grad(result, inputs, grad.to(result.dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_results_and_gradients_are_as_exact_as_the_definition_s(shape: str, dtype: torch.dtype) -> None:
    inputs = write_inputs(SHAPES[shape], dtype)
    wide = tuple(t.detach().double().requires_grad_() for t in inputs)
    fused, plain = memgan.memory_write(*inputs), reference.memory_write(*inputs)
    exact = reference.memory_write(*wide)
    unit = torch.finfo(dtype).eps * (40 if dtype == torch.float64 else 2)
    pairs = [(fused, plain, exact)]
    pairs += zip(gradients(fused, inputs), gradients(plain, inputs), gradients(exact, wide, dtype))
    for mine, theirs, right in pairs:
        assert mine.dtype == dtype
        assert error(mine, right) <= 2 * error(theirs, right) + unit


def test_first_and_second_derivatives_by_finite_differences() -> None:
    inputs = write_inputs((2, 3, 4, 3, 5))
    assert torch.autograd.gradcheck(memgan.memory_write, inputs)
    assert torch.autograd.gradgradcheck(memgan.memory_write, inputs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_padding_counts_as_zeros_and_gets_no_gradient(dtype: torch.dtype) -> None:
    for shape in ((3, 5, 7, 11, 13), (2, 77, 64, 128, 130)):
        words, *rest = write_inputs(shape, dtype)
        mask = torch.rand(2 * shape[0], shape[1], generator=torch.Generator().manual_seed(1))[::2] > 0.4
        mask[1] = False
        dirty = words.detach().masked_fill(~mask[:, :, None], float("nan")).requires_grad_()
        inputs, zeros = (dirty, *rest), (words.detach() * mask[:, :, None]).requires_grad_()
        fused, same = memgan.memory_write(*inputs, mask), memgan.memory_write(zeros, *rest)
        assert torch.equal(fused, same)
        of_words, *grads = gradients(fused, inputs)
        right_words, *right = gradients(same, (zeros, *rest))
        assert torch.equal(of_words, right_words.masked_fill(~mask[:, :, None], 0.0))
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(grads, right))
        assert torch.equal(memgan.memory_write(*inputs, mask.int()), fused)


def test_derivatives_with_a_mask_by_finite_differences() -> None:
    inputs, mask = write_inputs((2, 3, 4, 3, 5)), torch.tensor([[True, True, False], [False] * 3])

    def masked(*tensors: torch.Tensor) -> torch.Tensor:
        return memgan.memory_write(*tensors, mask)

    assert torch.autograd.gradcheck(masked, inputs)
    assert torch.autograd.gradgradcheck(masked, inputs)


def test_third_derivatives_are_those_of_the_definition() -> None:
    def third(call: object) -> torch.Tensor:
        inputs = write_inputs((1, 2, 3, 2, 3))
        value = call(*inputs).sin().sum()  # type: ignore[operator]
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, inputs[6], create_graph=True)
            value = slope.square().sum()
        return value

    torch.testing.assert_close(third(memgan.memory_write), third(reference.memory_write))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("transform", ["grad", "jacrev", "hessian", "vmap", "jvp"])
def test_torch_func(transform: str) -> None:
    words, summary, *rest = (t.detach() for t in write_inputs((2, 3, 4, 3, 5)))

    def value(words: torch.Tensor, summary: torch.Tensor) -> torch.Tensor:
        return memgan.memory_write(words, summary, *rest).square().sum()

    calls = {
        "grad": lambda: torch.func.grad(value, 1)(words, summary),
        "jacrev": lambda: torch.func.jacrev(value, 0)(words, summary),
        "hessian": lambda: torch.func.hessian(value, 1)(words, summary),
        "vmap": lambda: torch.func.vmap(torch.func.grad(value), (0, None))(
            torch.stack([words, -words]), summary
        ),
        "jvp": lambda: torch.func.jvp(value, (words, summary), (words, -summary)),
    }
    fused = calls[transform]()
    with memgan.use_backend("reference"):
        torch.testing.assert_close(fused, calls[transform]())


def test_torch_knows_the_ops() -> None:
    inputs, mask = write_inputs((2, 3, 4, 3, 5)), torch.tensor([[True, True, False], [False] * 3])
    torch.library.opcheck(torch.ops.memgan.memory_write_forward, (*inputs, None))
    torch.library.opcheck(torch.ops.memgan.memory_write_forward, (*inputs, mask))
    grad = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.memgan.memory_write_backward, (grad, *inputs, mask))


def test_a_compiled_and_an_exported_layer_call_the_kernel() -> None:
    calls = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        calls.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    compiled = torch.compile(memgan.memory_write, fullgraph=True, dynamic=True, backend=backend)
    for words in (3, 4, 5, 8):
        inputs = write_inputs((2, words, 7, 11, 13))
        torch.testing.assert_close(compiled(*inputs), memgan.memory_write(*inputs))
    assert len(calls) == 1, "compiled again for another size"
    assert any("memory_write_forward" in target for target in calls[0])

    writer = memgan.MemoryWriter(3, 4).double()
    arguments = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    exported = torch.export.export(writer, arguments)
    assert "memory_write_forward" in str(exported.graph)
    torch.testing.assert_close(exported.module()(*arguments), writer(*arguments))


@given(
    shape=st.tuples(
        st.integers(0, 3), st.integers(0, 40), st.integers(1, 20), st.integers(1, 9), st.integers(1, 140)
    ),
    dtype=st.sampled_from(DTYPES),
    transposed=st.booleans(),
)
def test_any_shape_and_dtype(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype, transposed: bool
) -> None:
    inputs = write_inputs(shape, dtype)
    if transposed:
        inputs = tuple(t.detach().mT.contiguous().mT.requires_grad_() if t.ndim > 1 else t for t in inputs)
    wide = tuple(t.detach().double().requires_grad_() for t in inputs)
    fused, exact = memgan.memory_write(*inputs), reference.memory_write(*wide)
    tolerance = 60 * torch.finfo(dtype).eps
    assert fused.shape == exact.shape
    assert error(fused, exact) <= tolerance
    for mine, right in zip(gradients(fused, inputs), gradients(exact, wide, dtype)):
        assert mine.shape == right.shape
        assert error(mine, right) <= tolerance


def test_a_nan_spreads_as_in_the_definition() -> None:
    words, *rest = (t.detach() for t in write_inputs((2, 3, 4, 3, 5)))
    words[1, 2, 0] = float("nan")
    assert torch.equal(
        memgan.memory_write(words, *rest).isnan(), reference.memory_write(words, *rest).isnan()
    )


def test_every_element_is_written_and_none_depends_on_run_or_threads() -> None:
    inputs = write_inputs((10, 18, 37, 29, 128), torch.float32)

    def call() -> list[torch.Tensor]:
        result = memgan.memory_write(*inputs)
        return [result, *gradients(result, inputs)]

    with nan_where_unwritten():
        found = assert_same_on_any_number_of_threads(call)
    assert not any(part.isnan().any() for part in found)


def test_what_no_kernel_takes_goes_to_the_definition_and_says_so() -> None:
    words, summary, *weights, _, _ = (t.detach() for t in write_inputs((2, 3, 4, 3, 5)))
    per_channel = (torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64))
    for gates in ((), per_channel):
        arguments = (words, summary, *weights, *gates)
        assert "no fused kernel" in str(native.unsupported_reason("memory_write", *arguments))
        assert "gate" in memgan.explain_backends("memory_write", *arguments)
        assert torch.equal(memgan.memory_write(*arguments), reference.memory_write(*arguments))
