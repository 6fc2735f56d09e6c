"""The fused ops as functions of tensors: who is calling decides how torch is told of the derivatives.

A traced call goes through torch's registry. An eager call goes through ``autograd.Function``, which costs a third of
that; torch.func needs one of another form. Forward-mode derivatives are given the definition, which has them, and
those of a backward its formula.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from memgan.backends import reference
from memgan.backends.native import formulas, registration
from memgan.backends.native.derivatives import DERIVATIVES, Derivatives

_OPS = registration.LIBRARY and torch.ops.memgan
# Backwards in plain PyTorch, which have forward-mode derivatives; they take no word on TF32.
BACKWARDS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "memory_read": lambda *args: formulas.read_backward(*args[:-1]),
    "memory_refine": lambda *args: formulas.refine_backward(*args[:-1]),
    "memory_write": formulas.write_backward,
    "memory_project": formulas.project_backward,
    "norm_glu": formulas.norm_glu_backward,
}


def _below_autograd(name: str, *args: Any) -> Any:
    """Call an op's kernel itself: autograd has been told already."""
    with torch._C._AutoDispatchBelowAutograd():
        return getattr(_OPS, name)(*args)


def _functions(op: str) -> tuple[type[torch.autograd.Function], type[torch.autograd.Function]]:
    """Two ``autograd.Function`` of ``op``, one for eager calls and one that torch.func can transform.

    The backward of each is a Function too, so that derivatives of derivatives exist.
    """

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            result = _below_autograd(f"{op}_backward", *args)
            eager.save_backward(ctx, args, result)
            return result

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return eager.backward_backward(ctx, *grads)

    class Forward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            result = _below_autograd(f"{op}_forward", *args)
            eager.save_forward(ctx, args, result)
            return result

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return eager.forward_backward(ctx, *grads)

    class TransformableBackward(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args: Any) -> Any:
            return getattr(_OPS, f"{op}_backward")(*args)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            transformable.save_backward(ctx, inputs, output)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return transformable.backward_backward(ctx, *grads)

    class TransformableForward(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args: Any) -> Any:
            return getattr(_OPS, f"{op}_forward")(*args)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            transformable.save_forward(ctx, inputs, output)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return transformable.forward_backward(ctx, *grads)

    def call_backward(*args: Any) -> Any:
        if _forward_mode():
            return BACKWARDS[op](*args)
        if not torch.is_grad_enabled():
            return _below_autograd(f"{op}_backward", *args)
        if any(isinstance(arg, Tensor) and torch._C._functorch.is_legacy_batchedtensor(arg) for arg in args):
            # Batched gradients: a Function would hang the graph on what the batching takes off again.
            return getattr(_OPS, f"{op}_backward")(*args)
        return Backward.apply(*args)  # a graph of the backward is wanted

    def call_transformable_backward(*args: Any) -> Any:
        return BACKWARDS[op](*args) if _forward_mode() else TransformableBackward.apply(*args)

    eager = Derivatives.of(op, call_backward)
    transformable = Derivatives.of(op, call_transformable_backward)
    for name, pair in (
        (op, (Forward, TransformableForward)),
        (f"{op}_backward", (Backward, TransformableBackward)),
    ):
        for function in pair:
            function.__name__ = function.__qualname__ = name
    return Forward, TransformableForward


_FUNCTIONS = {op: _functions(op) for op in DERIVATIVES}


def _call(op: str, *args: Any) -> Any:
    if torch.compiler.is_compiling():
        result = getattr(_OPS, f"{op}_forward")(*args)
        return result
    eager, transformable = _FUNCTIONS[op]
    if torch._C._are_functorch_transforms_active():
        result = transformable.apply(*args)
    elif torch.is_grad_enabled() and any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
        result = eager.apply(*args)
    else:
        result = _below_autograd(f"{op}_forward", *args)
    return result


def _forward_mode() -> bool:
    """Whether forward-mode derivatives are being taken: the definition has them, a kernel has not."""
    return forward_ad._current_level >= 0


def _tf32(tensor: Tensor) -> bool:
    return tensor.is_cuda and torch.backends.cuda.matmul.allow_tf32


def memory_read(
    image_features: Tensor,
    keys: Tensor,
    values: Tensor,
    word_mask: Tensor | None = None,
    *,
    scale: float = 1.0,
    return_attention: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """As :func:`memgan.backends.reference.memory_read`."""
    tensors = (image_features, keys, values, word_mask)
    if _forward_mode():
        return reference.memory_read(*tensors, scale=scale, return_attention=return_attention)
    read, attention = _call("memory_read", *tensors, float(scale), return_attention, _tf32(image_features))
    return read, attention if return_attention else None


def memory_refine(
    image_features: Tensor,
    keys: Tensor,
    values: Tensor,
    word_mask: Tensor | None,
    gate_weight: Tensor,
    gate_bias: Tensor,
    *,
    scale: float = 1.0,
    return_attention: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """As :func:`memgan.backends.reference.memory_refine`; a gate a channel is a read and a matrix product."""
    if gate_weight.shape[0] != 1:
        read, given = memory_read(
            image_features, keys, values, word_mask, scale=scale, return_attention=return_attention
        )
        return reference.memory_respond(image_features, read, gate_weight, gate_bias), given
    tensors = (image_features, keys, values, word_mask, gate_weight, gate_bias)
    if _forward_mode():
        return reference.memory_refine(*tensors, scale=scale, return_attention=return_attention)
    refined, attention = _call(
        "memory_refine", *tensors, float(scale), return_attention, _tf32(image_features)
    )
    return refined, attention if return_attention else None


def memory_write(*tensors: Any) -> Tensor:
    """As :func:`memgan.backends.reference.memory_write`, with one gate a word."""
    if _forward_mode():
        return reference.memory_write(*tensors)
    result: Tensor = _call("memory_write", *tensors)
    return result


def memory_project(*tensors: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`memgan.backends.reference.memory_project`."""
    if _forward_mode():
        return reference.memory_project(*tensors)
    keys, values = _call("memory_project", *tensors)
    return keys, values


def norm_glu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    *,
    momentum: float,
    eps: float,
) -> Tensor:
    """As :func:`memgan.backends.reference.norm_glu`, which compilers fuse themselves and transforms can follow."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or _forward_mode():
        return reference.norm_glu(x, weight, bias, running_mean, running_var, momentum=momentum, eps=eps)
    out: Tensor
    out, mean, var = _call("norm_glu", x, weight, bias, eps)
    count = x.numel() / x.shape[1]
    with torch.no_grad():
        running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
        running_var.mul_(1 - momentum).add_(var, alpha=momentum * count / (count - 1))  # the unbiased one
    return out
