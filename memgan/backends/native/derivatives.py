"""First and second derivatives of the fused ops, for torch's registry and for eager autograd alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from memgan.backends.native import formulas, pairings

Products = list[tuple[Tensor, Tensor]]
# (gradients of the results of an op's backward, some None; its arguments) → results, each with its gradient
Formula = Callable[..., Products]
MASK = 3  # place of word_mask among the arguments of the ops that attend


def _of_backward(backward: Callable[..., tuple[Tensor, ...]]) -> Formula:
    def products(grads: Sequence[Tensor | None], *arguments: Any) -> Products:
        return [(result, grad) for result, grad in zip(backward(*arguments), grads) if grad is not None]

    return products


def _of_pairing(pairing: Callable[..., Tensor]) -> Formula:
    def products(grads: Sequence[Tensor | None], *arguments: Any) -> Products:
        result = pairing(grads, *arguments)
        return [(result, torch.ones_like(result))]

    return products


# What each op's second derivative is the gradient of, and how many tensors the op takes.
DERIVATIVES: dict[str, tuple[Formula, int]] = {
    "memory_read": (_of_pairing(pairings.read_pairing), 4),
    "memory_refine": (_of_pairing(pairings.refine_pairing), 6),
    "memory_write": (_of_backward(formulas.write_backward), 9),
    "memory_project": (_of_backward(formulas.project_backward), 5),
    "norm_glu": (_of_backward(formulas.norm_glu_backward), 3),
}


@dataclass(frozen=True)
class Derivatives:
    """What ``setup_context`` and ``backward`` of an op's forward and of its backward do."""

    call_backward: Callable[..., tuple[Tensor, ...]]  # differentiable in turn
    formula: Formula
    count: int  # tensors that the op takes

    @classmethod
    def of(cls, op: str, call_backward: Callable[..., tuple[Tensor, ...]]) -> Derivatives:
        """Those of ``op``, whose backward is computed by ``call_backward``."""
        kinds = {"memory_write": _OfWrite, "memory_project": _OfProject, "norm_glu": _OfNormGlu}
        return kinds.get(op, cls)(call_backward, *DERIVATIVES[op])

    def save_forward(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the arguments: the softmax is computed again rather than stored."""
        *tensors, ctx.scale, ctx.attention, ctx.tf32 = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)

    def forward_backward(
        self, ctx: Any, grad: Tensor | None, grad_attention: Tensor | None
    ) -> tuple[Any, ...]:
        """Gradients of the arguments of the forward op."""
        tensors = ctx.saved_tensors
        if not ctx.attention:
            grad_attention = None
        if grad is None and grad_attention is None:
            return (None,) * (self.count + 3)
        if grad is None:
            features, values = tensors[0], tensors[2]
            grad = features.new_zeros((features.shape[0], values.shape[2], *features.shape[2:]))
        given = iter(self.call_backward(grad, grad_attention, *tensors, ctx.scale, ctx.tf32))
        places = [None if index == MASK else next(given) for index in range(self.count)]
        return (*places, None, None, None)

    def save_backward(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the arguments of the backward op."""
        *tensors, ctx.scale, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)

    def backward_backward(self, ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        """Gradients of the arguments of the backward op."""
        if all(grad is None for grad in grads):
            return (None,) * (self.count + 4)
        return (*second_derivatives(self.formula, ctx.saved_tensors, (ctx.scale,), grads), None, None)


class _OfTensors(Derivatives):
    """Those of an op whose arguments all are tensors."""

    def save_backward(self, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)

    def backward_backward(self, ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        tensors = ctx.saved_tensors
        if all(grad is None for grad in grads):
            return (None,) * len(tensors)
        return second_derivatives(self.formula, tensors, (), grads)


class _OfWrite(_OfTensors):
    """Those of memory_write; its last argument is the mask."""

    save_forward = _OfTensors.save_backward

    def forward_backward(self, ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Any, ...]:
        if grad is None:
            return (None,) * self.count
        return (*self.call_backward(grad, *ctx.saved_tensors), None)


class _OfProject(_OfTensors):
    """Those of memory_project: where its results are 0 nothing passes the ReLU."""

    def save_forward(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        memory, key_weight, _, value_weight, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(memory, key_weight, value_weight, *output)

    def forward_backward(
        self, ctx: Any, grad_keys: Tensor | None, grad_values: Tensor | None
    ) -> tuple[Any, ...]:
        if grad_keys is None and grad_values is None:
            return (None,) * self.count
        *_, keys, values = tensors = ctx.saved_tensors
        grad_keys = torch.zeros_like(keys) if grad_keys is None else grad_keys
        grad_values = torch.zeros_like(values) if grad_values is None else grad_values
        return tuple(self.call_backward(grad_keys, grad_values, *tensors))


class _OfNormGlu(Derivatives):
    """Those of norm_glu, whose forward also gives mean and variance: for its backward, not to be differentiated."""

    def save_forward(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.eps = inputs
        _, mean, var = output
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(mean, var)
        ctx.save_for_backward(*tensors, mean, var)

    def forward_backward(self, ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Any, ...]:
        if grad is None:
            return (None,) * (self.count + 1)
        return (*self.call_backward(grad, *ctx.saved_tensors, ctx.eps), None)

    def save_backward(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.eps = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)

    def backward_backward(self, ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        if all(grad is None for grad in grads):
            return (None,) * (self.count + 4)
        return (*second_derivatives(self.formula, ctx.saved_tensors, (ctx.eps,), grads), None)


def second_derivatives(
    formula: Formula,
    tensors: Sequence[Tensor | None],
    options: tuple[Any, ...],
    grads: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """``grads`` of the results of an op's backward → gradients of ``tensors``, its arguments before ``options``.

    Each tensor gets an alias, so that only its direct use counts. Where a graph of this is wanted in turn the
    aliases keep their history, and third derivatives are exact too.
    """
    if torch._C._are_functorch_transforms_active():
        return _transformable_second_derivatives(formula, tensors, options, grads)
    higher = torch.is_grad_enabled()
    with torch.enable_grad():
        aliases = [_alias(tensor, higher) for tensor in tensors]
        wanted = [alias for alias in aliases if alias is not None and alias.requires_grad]
        results, given_to = zip(*formula(grads, *aliases, *options))
        given = torch.autograd.grad(results, wanted, given_to, create_graph=higher, allow_unused=True)
    found = iter(given)
    return tuple(next(found) if alias is not None and alias.requires_grad else None for alias in aliases)


def _alias(tensor: Tensor | None, higher: bool) -> Tensor | None:
    if tensor is None or not tensor.is_floating_point():
        return tensor
    if higher and tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()


def _transformable_second_derivatives(
    formula: Formula,
    tensors: Sequence[Tensor | None],
    options: tuple[Any, ...],
    grads: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """:func:`second_derivatives` by a transform, which other transforms can go on from."""
    places = [index for index, x in enumerate(tensors) if x is not None and x.is_floating_point()]

    def of_places(*given: Tensor) -> Tensor:
        arguments = list(tensors)
        for index, value in zip(places, given):
            arguments[index] = value
        products = [(result * grad).sum() for result, grad in formula(grads, *arguments, *options)]
        return torch.stack(products).sum()

    product, pull = cast(Any, torch.func.vjp(of_places, *(tensors[index] for index in places)))
    found = dict(zip(places, pull(torch.ones_like(product))))
    return tuple(found.get(index) for index in range(len(tensors)))
