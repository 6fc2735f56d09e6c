"""The op behind memory_project: what a kernel replaces, its derivatives, and who takes it. Kernels are emulated."""

from __future__ import annotations

import pytest
import torch

import memgan
from memgan.backends import native, reference
from memgan.backends.native import functions

SHAPE = (2, 3, 5, 7, 4)  # B, L, M, C, D


def project_inputs(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, ...]:
    """Arguments, as large as after a ReLU and as weights are."""
    B, L, M, C, D = shape
    made = torch.Generator().manual_seed(4)

    def normal(*size: int, deviation: float = 1.0) -> torch.Tensor:
        numbers = deviation * torch.randn(*size, generator=made, dtype=torch.float64)
        return numbers.to(dtype).requires_grad_()

    deviation = max(M, 1) ** -0.5
    return (
        normal(B, L, M),
        normal(C, M, deviation=deviation),
        normal(C),
        normal(D, M, deviation=deviation),
        normal(D),
    )


def test_first_and_second_derivatives_by_finite_differences() -> None:
    inputs = project_inputs(SHAPE)
    assert torch.autograd.gradcheck(functions.memory_project, inputs)
    assert torch.autograd.gradgradcheck(functions.memory_project, inputs)


@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_of_one_result_alone(which: int) -> None:
    inputs = project_inputs(SHAPE)
    found = torch.autograd.grad(functions.memory_project(*inputs)[which].square().sum(), inputs)
    right = torch.autograd.grad(
        reference.memory_project(*inputs)[which].square().sum(), inputs, allow_unused=True
    )
    for mine, theirs in zip(found, right):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if theirs is None else theirs)


def test_third_derivatives_are_those_of_the_definition() -> None:
    def third(call: object) -> torch.Tensor:
        inputs = project_inputs(SHAPE)
        keys, values = call(*inputs)  # type: ignore[operator]
        value = keys.sin().sum() + (values**3).sum()
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, inputs[0], create_graph=True)
            value = slope.square().sum()
        return value

    torch.testing.assert_close(third(functions.memory_project), third(reference.memory_project))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("transform", ["grad", "jacrev", "hessian", "vmap", "jvp"])
def test_torch_func(transform: str) -> None:
    memory, weight, *rest = (t.detach() for t in project_inputs(SHAPE))

    def value(op: object, memory: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        keys, values = op(memory, weight, *rest)  # type: ignore[operator]
        return keys.square().sum() + values.sin().sum()

    def transformed(op: object) -> object:
        def of(memory: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return value(op, memory, weight)

        calls = {
            "grad": lambda: torch.func.grad(of, 1)(memory, weight),
            "jacrev": lambda: torch.func.jacrev(of, 0)(memory, weight),
            "hessian": lambda: torch.func.hessian(of, 1)(memory, weight),
            "vmap": lambda: torch.func.vmap(torch.func.grad(of), (0, None))(
                torch.stack([memory, -memory]), weight
            ),
            "jvp": lambda: torch.func.jvp(of, (memory, weight), (memory, -weight)),
        }
        return calls[transform]()

    torch.testing.assert_close(transformed(functions.memory_project), transformed(reference.memory_project))


def test_torch_knows_the_ops() -> None:
    inputs = project_inputs(SHAPE)
    torch.library.opcheck(torch.ops.memgan.memory_project_forward, inputs)
    keys, values = (t.detach() for t in reference.memory_project(*inputs))
    grads = (torch.randn_like(keys).requires_grad_(), torch.randn_like(values).requires_grad_())
    arguments = (*grads, inputs[0], inputs[1], inputs[3], keys, values)
    torch.library.opcheck(torch.ops.memgan.memory_project_backward, arguments)


def test_a_nan_spreads_as_in_the_definition() -> None:
    inputs = tuple(t.detach() for t in project_inputs(SHAPE))
    inputs[0][1, 2, 0] = float("nan")
    leaves = [tuple(t.clone().requires_grad_() for t in inputs) for _ in range(2)]
    results = [op.memory_project(*tensors) for op, tensors in zip((functions, reference), leaves)]
    grads = [
        torch.autograd.grad(keys.sum() + values.sum(), tensors)
        for (keys, values), tensors in zip(results, leaves)
    ]
    for mine, right in zip((*results[0], *grads[0]), (*results[1], *grads[1])):
        assert torch.equal(mine.isnan(), right.isnan())


def test_the_cpu_takes_torch_s_products_and_says_so() -> None:
    inputs = project_inputs(SHAPE)
    assert "on the CPU" in str(native.unsupported_reason("memory_project", *inputs))
    assert "on the CPU" in memgan.explain_backends("memory_project", *inputs)
    for mine, right in zip(memgan.memory_project(*inputs), reference.memory_project(*inputs)):
        assert torch.equal(mine, right)
