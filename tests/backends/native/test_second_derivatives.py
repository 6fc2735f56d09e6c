"""Second derivatives of the ops that attend, of each gradient alone and of all: those of a gradient penalty."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import memgan
from tests.backends.native.inputs import Inputs, error

OPS = ("memory_read", "memory_refine")
NAMES = ("features", "keys", "values", "weight", "bias")
CASES = [(op, name) for op in OPS for name in (*NAMES[: 3 if op == "memory_read" else 5], "all")]


def second(results: tuple[Tensor, ...], tensors: tuple[Tensor, ...], name: str) -> tuple[Tensor, ...]:
    """Gradients of a penalty on the gradient of one tensor, or of all; of the results' gradients, too."""
    made = torch.Generator().manual_seed(3)

    def random(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=made, dtype=torch.float64).to(like)

    given = tuple(random(result).requires_grad_() for result in results)
    chosen = tensors if name == "all" else (tensors[NAMES.index(name)],)
    slopes = torch.autograd.grad(results, chosen, given, create_graph=True)
    penalty = sum((slope.double().square() + slope * random(slope)).sum() for slope in slopes)
    found = torch.autograd.grad(penalty, (*tensors, *given), allow_unused=True)  # type: ignore[arg-type]
    return tuple(torch.zeros_like(t) if g is None else g for g, t in zip(found, (*tensors, *given)))


@pytest.mark.parametrize("attention", [False, True], ids=["result", "result and attention"])
@pytest.mark.parametrize(("op", "name"), CASES)
def test_a_penalty_on_any_gradient_is_derived_as_the_definition_s(
    op: str, name: str, attention: bool
) -> None:
    inputs = Inputs.random()
    assert inputs.mask is not None
    inputs.mask[1] = False  # an image without words
    inputs.keys[~inputs.mask] = torch.nan  # padding is not looked at
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
    fused = second(inputs.call(op, attention=attention), tensors, name)
    plain = second(inputs.defined(op)[: 1 + attention], tensors, name)
    for mine, theirs in zip(fused, plain):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 4.0], ids=["around zero", "words alike"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("op", OPS)
def test_a_penalty_is_derived_as_exactly_as_the_definition_s(
    op: str, dtype: torch.dtype, offset: float
) -> None:
    inputs = Inputs.random(channels=64, height=16, width=16, words=18, dtype=dtype)
    inputs.keys += offset  # a part that all words share is nothing to the softmax, and much to its products
    inputs.scale = 64**-0.5
    wide, exact = inputs.exact(op)
    right = second(exact[:1], wide.floating(op), "features")
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
    fused = second(inputs.call(op, attention=False), tensors, "features")
    plain = second(inputs.defined(op)[:1], tensors, "features")
    worst = max(error(theirs, true) for theirs, true in zip(plain, right))
    for mine, theirs, true in zip(fused, plain, right):
        allowed = worst if true.numel() == 1 else error(theirs, true)
        assert error(mine, true) <= 2 * allowed + torch.finfo(dtype).eps


@pytest.mark.parametrize("op", OPS)
def test_batched_gradients_have_a_graph(op: str) -> None:
    def second(call) -> tuple[Tensor, ...]:  # type: ignore[no-untyped-def]
        inputs = Inputs.random(batch=2, channels=3, height=2, width=3, words=4)
        tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
        result = call(inputs, tensors)
        given = torch.stack([torch.ones_like(result), result.detach().sin()])
        (slopes,) = torch.autograd.grad(result, tensors[0], given, is_grads_batched=True, create_graph=True)
        return torch.autograd.grad(slopes.square().sum(), tensors, allow_unused=True)

    fused = second(lambda inputs, tensors: inputs.call(op, tensors, attention=False)[0])
    plain = second(lambda inputs, tensors: inputs.defined(op)[0])
    for mine, theirs in zip(fused, plain):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # torch's own, in jvp
@pytest.mark.parametrize("op", OPS)
def test_a_backward_has_forward_mode_derivatives(op: str) -> None:
    """Of a forward that was computed before: reverse mode first, then forward mode over it."""
    inputs = Inputs.random(batch=2, channels=3, height=2, width=3, words=4)
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
    found = []
    for result in (inputs.call(op, tensors, attention=False)[0], inputs.defined(op)[0]):

        def slopes(given: Tensor, result: Tensor = result) -> Tensor:
            return torch.autograd.grad(result, tensors[0], given, retain_graph=True)[0]

        given = torch.ones_like(result)
        found.append(torch.func.jvp(slopes, (given,), (given.cumsum(1),))[1])
    assert found[0].abs().max() > 0
    torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_transform_inside_of_a_compiled_function_takes_the_definition() -> None:
    inputs = Inputs.random(batch=2, channels=3, height=2, width=3, words=4)
    tensors = inputs.floating("memory_read")

    def slopes(features: Tensor) -> Tensor:
        def value(x: Tensor) -> Tensor:
            return inputs.call("memory_read", (x, *tensors[1:]), attention=False)[0].square().sum()

        return torch.func.grad(value)(features)

    with memgan.use_backend("auto"):
        compiled = torch.compile(slopes, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(tensors[0]), slopes(tensors[0]))
