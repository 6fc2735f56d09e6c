"""Read and respond in one op: the memory's whole pass over the pixels."""

from __future__ import annotations

from torch import Tensor

from memgan.backends import dispatch
from memgan.ops._checks import autocast, check_floating, check_shape, scaled
from memgan.ops.memory_read import check_read
from memgan.ops.memory_respond import check_gate
from memgan.types import ReadAndAttention


def memory_refine(
    image_features: Tensor,
    keys: Tensor,
    values: Tensor,
    word_mask: Tensor | None,
    gate_weight: Tensor,
    gate_bias: Tensor,
    *,
    scale: float | Tensor = 1.0,
    return_attention: bool = False,
) -> ReadAndAttention:
    r""":func:`memgan.memory_read`, then :func:`memgan.memory_respond`, in one kernel where there is one.

    Args:
        image_features: ``(B, C, H, W)``, floating point, contiguous or channels_last.
        keys, values: ``(B, L, C)`` each.
        word_mask: ``(B, L)``, bool or integer, True or 1 for a real word; None: all words are real.
        gate_weight, gate_bias: ``(1, 2C)`` and ``(1,)``: one gate a pixel; or ``(C, 2C)`` and ``(C,)``.
        scale: factor of the scores before the softmax; 1 as in the paper. A tensor of one number has a gradient, too.
        return_attention: also return the attention.

    Returns:
        The new features, ``(B, C, H, W)``, and the attention, ``(B, L, H, W)``, or None.

    Raises:
        ShapeError, DtypeError, DeviceError: the message names the argument.
        BackendUnavailable: a backend was forced and cannot run this input.

    Source: equations 4 to 7 of the paper. First and second derivatives for every floating argument.

    >>> import torch
    >>> refined, attention = memory_refine(torch.zeros(2, 3, 5, 7), torch.zeros(2, 11, 3), torch.ones(2, 11, 3),
    ...                                    None, torch.zeros(1, 6), torch.zeros(1))
    >>> refined.shape, attention, refined.mean()
    (torch.Size([2, 3, 5, 7]), None, tensor(0.5000))
    """
    op = "memory_refine"
    mask = check_read(op, image_features, keys, values, word_mask)
    check_shape(op, "values", values, tuple(keys.shape), "(B, L, C)")
    check_gate(op, image_features.shape[1], gate_weight, gate_bias)
    cast = autocast(image_features, keys, values, gate_weight, gate_bias)
    check_floating(op, **dict(zip(("image_features", "keys", "values", "gate_weight", "gate_bias"), cast)))
    features, keys, values, weight, bias = cast  # type: ignore[assignment]
    keys, scale = scaled(op, keys, scale)
    result: ReadAndAttention = dispatch.call(
        op, features, keys, values, mask, weight, bias, scale=scale, return_attention=return_attention
    )
    return result
