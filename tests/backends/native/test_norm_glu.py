"""The fused BatchNorm and gated linear unit equal the definition: results, derivatives, running statistics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import memgan
from memgan.backends import native, reference
from memgan.ops.norm_glu import norm_glu
from tests.backends.native.inputs import error
from tests.backends.native.runs import assert_same_on_any_number_of_threads, nan_where_unwritten

DTYPES = (torch.float64, torch.float32, torch.bfloat16)
SHAPES = {  # B, C, H, W
    "primes": (3, 5, 7, 11),
    "paper": (2, 64, 16, 16),
    "chunks and an end": (3, 16, 23, 29),
    "one row of registers": (2, 17, 1, 16),
    "one pixel": (3, 33, 1, 1),
    "one channel": (2, 1, 3, 1),
}
Call = Callable[..., Tensor]


def norm_inputs(
    shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float64, *, last: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    B, C, H, W = shape
    made = torch.Generator().manual_seed(3)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=made, dtype=torch.float64)

    x = (2 * normal(B, 2 * C, H, W) + 3 * normal(2 * C, 1, 1)).to(dtype)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    wide = torch.promote_types(dtype, torch.float32)
    weight, bias = (1 + 0.3 * normal(2 * C)).to(wide), normal(2 * C).to(wide)
    return x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def called(call: Call, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    statistics = torch.zeros_like(weight.detach()), torch.ones_like(weight.detach())
    return call(x, weight, bias, *statistics, momentum=0.1, eps=1e-5)


def gradients(
    result: Tensor, inputs: tuple[Tensor, ...], dtype: torch.dtype, *, last: bool = True
) -> tuple[Tensor, ...]:
    made = torch.Generator().manual_seed(5)
    grad = torch.randn(result.shape, generator=made, dtype=torch.float64).to(dtype)
    grad = grad.contiguous(memory_format=torch.channels_last) if last else grad
    return torch.autograd.grad(result, inputs, grad.to(result.dtype))


def wide(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.detach().double().requires_grad_() for t in inputs)


@pytest.mark.parametrize("last", [True, False], ids=["channels_last", "contiguous"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_results_and_gradients_are_as_exact_as_the_definition_s(
    shape: str, dtype: torch.dtype, last: bool
) -> None:
    inputs = norm_inputs(SHAPES[shape], dtype, last=last)
    exact_inputs = wide(inputs)
    fused, plain = called(norm_glu, *inputs), called(reference.norm_glu, *inputs)
    exact = called(reference.norm_glu, *exact_inputs)
    unit = torch.finfo(dtype).eps * (40 if dtype == torch.float64 else 2)
    assert fused.dtype == dtype
    pairs = [(fused, plain, exact)]
    pairs += zip(
        gradients(fused, inputs, dtype),
        gradients(plain, inputs, dtype),
        gradients(exact, exact_inputs, dtype),
    )
    for mine, theirs, right in pairs:
        assert mine.dtype == theirs.dtype
        assert error(mine, right) <= 2 * error(theirs, right) + unit


def test_the_result_and_x_s_gradient_lie_as_x_does() -> None:
    for last in (True, False):
        inputs = norm_inputs((2, 3, 4, 5), torch.float32, last=last)
        fused = called(norm_glu, *inputs)
        for grad_last in (True, False):  # a gradient that lies otherwise is taken all the same
            grads = gradients(fused, inputs, torch.float32, last=grad_last)
            for tensor in (fused, grads[0]):
                assert tensor.is_contiguous(memory_format=torch.channels_last) == last
            torch.testing.assert_close(
                grads, gradients(called(reference.norm_glu, *inputs), inputs, torch.float32)
            )
            fused = called(norm_glu, *inputs)


def test_first_and_second_derivatives_by_finite_differences() -> None:
    inputs = norm_inputs((2, 2, 2, 3))
    assert torch.autograd.gradcheck(lambda *given: called(norm_glu, *given), inputs)
    assert torch.autograd.gradgradcheck(lambda *given: called(norm_glu, *given), inputs)


def written_out(x: Tensor, weight: Tensor, bias: Tensor, *_: Tensor, momentum: float, eps: float) -> Tensor:
    """torch's batch_norm has wrong third derivatives: its second takes mean and variance for constants."""
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    y = (x - mean) / (var + eps).sqrt() * weight[:, None, None] + bias[:, None, None]
    value, gate = y.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


def test_third_derivatives_are_those_of_the_equations() -> None:
    def third(call: Call) -> Tensor:
        inputs = norm_inputs((2, 2, 2, 3))
        value = called(call, *inputs).sin().sum()
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, inputs[0], create_graph=True)
            value = slope.square().sum()
        return value

    torch.testing.assert_close(third(norm_glu), third(written_out))


def test_a_far_mean_costs_no_more_digits_than_the_numbers_have() -> None:
    x, weight, bias = norm_inputs((4, 8, 16, 16), torch.float32)
    far = (x + 1000).detach().requires_grad_()
    exact_inputs = wide((far, weight, bias))
    fused, exact = called(norm_glu, far, weight, bias), called(reference.norm_glu, *exact_inputs)
    assert error(fused, exact) <= 1e-6 + 2 * error(called(reference.norm_glu, far, weight, bias), exact)


@pytest.mark.parametrize("block", ["residual", "upsample"])
def test_a_block_s_statistics_and_gradients_are_those_of_its_parts(block: str) -> None:
    made = memgan.ResidualBlock(4) if block == "residual" else memgan.UpsampleBlock(4, 3)
    made = made.double()
    states, grads = [], []
    start = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    for backend in ("native", "reference"):
        made.load_state_dict(start)
        made.zero_grad()
        with memgan.use_backend(backend):  # type: ignore[arg-type]
            for seed in range(3):
                torch.manual_seed(seed)
                made(torch.randn(3, 4, 6, 5, dtype=torch.float64)).square().sum().backward()
        states.append({name: tensor.clone() for name, tensor in made.state_dict().items()})
        grads.append([parameter.grad.clone() for parameter in made.parameters()])  # type: ignore[union-attr]
    torch.testing.assert_close(*states)
    torch.testing.assert_close(*grads)
    assert all(count == 3 for name, count in states[0].items() if "tracked" in name)


def test_hooks_other_norms_and_evaluation_see_their_own_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    fused: list[bool] = []
    whole = native.norm_glu
    monkeypatch.setattr(
        native, "norm_glu", lambda *args, **kwargs: fused.append(True) or whole(*args, **kwargs)
    )
    block, x = memgan.UpsampleBlock(4, 3), torch.randn(2, 4, 5, 6)
    block(x)
    assert fused.pop()
    seen: list[Tensor] = []
    with block.norm.register_forward_hook(lambda *args: seen.append(args[2])):
        block(x)
    assert len(seen) == 1
    assert seen[0].shape == (2, 6, 10, 12)
    block.eval()(x)
    block.train().norm = nn.BatchNorm2d(6, momentum=None)
    block(x)
    block.norm = nn.Identity()
    block(x)
    assert not fused


def test_torch_knows_the_op() -> None:
    inputs = norm_inputs((2, 3, 4, 3))
    torch.library.opcheck(torch.ops.memgan.norm_glu_forward, (*inputs, 1e-5))
    _, mean, var = torch.ops.memgan.norm_glu_forward(*inputs, 1e-5)
    grad = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    statistics = mean.detach(), var.detach()
    torch.library.opcheck(torch.ops.memgan.norm_glu_backward, (grad, *inputs, *statistics, 1e-5))


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 20), st.integers(2, 90)),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(["channels_last", "contiguous", "sliced"]),
)
def test_any_shape_layout_and_dtype(
    shape: tuple[int, int, int, int], dtype: torch.dtype, layout: str
) -> None:
    B, C, H, W = shape
    x, weight, bias = norm_inputs((B, C, H, 2 * W if layout == "sliced" else W), dtype, last=False)
    x = x.detach()[..., ::2] if layout == "sliced" else x.detach()
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    inputs = (x.requires_grad_(), weight, bias)
    exact_inputs = wide(inputs)
    fused, exact = called(norm_glu, *inputs), called(reference.norm_glu, *exact_inputs)
    tolerance = 60 * torch.finfo(dtype).eps
    assert fused.shape == exact.shape
    assert error(fused, exact) <= tolerance
    numbers = B * H * W
    if numbers > 8:  # of fewer, a variance can be near zero, and its gradient has few digits
        for mine, right in zip(gradients(fused, inputs, dtype), gradients(exact, exact_inputs, dtype)):
            assert error(mine, right) <= 10 * tolerance


def test_a_nan_spreads_as_in_the_definition() -> None:
    for last in (True, False):
        x, weight, bias = (t.detach() for t in norm_inputs((2, 3, 4, 5), torch.float32, last=last))
        x[1, 4, 2, 2] = float("nan")
        fused, plain = called(norm_glu, x, weight, bias), called(reference.norm_glu, x, weight, bias)
        assert torch.equal(fused.isnan(), plain.isnan())


@pytest.mark.parametrize("last", [True, False], ids=["channels_last", "contiguous"])
def test_every_element_is_written_and_none_depends_on_run_or_threads(last: bool) -> None:
    inputs = norm_inputs((5, 19, 31, 17), torch.float32, last=last)

    def call() -> list[torch.Tensor]:
        result = called(norm_glu, *inputs)
        return [result, *gradients(result, inputs, torch.float32)]

    with nan_where_unwritten():
        found = assert_same_on_any_number_of_threads(call)
    assert not any(part.isnan().any() for part in found)


def test_what_the_kernel_does_not_take_goes_to_the_definition() -> None:
    block = memgan.UpsampleBlock(4, 3).bfloat16()
    assert block(torch.randn(2, 4, 5, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16
    x, weight = torch.randn(2, 6, 4, 5), torch.randn(6, dtype=torch.float64)
    assert "no fused kernel" in str(native.unsupported_reason("norm_glu", x, weight))
    compiled = torch.compile(lambda x: memgan.ResidualBlock(2)(x), backend="eager")
    assert compiled(torch.randn(2, 2, 3, 3)).shape == (2, 2, 3, 3)
