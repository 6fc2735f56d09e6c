"""The response gate (DM-GAN, section 3.2): how much of what was read replaces the pixel's feature."""

from __future__ import annotations

from torch import Tensor

from memgan.backends import dispatch
from memgan.ops._checks import autocast, check_floating, check_shape


def memory_respond(image_features: Tensor, read: Tensor, gate_weight: Tensor, gate_bias: Tensor) -> Tensor:
    r"""Gate what was read into the image features.

    .. math:: g_p = \sigma(W [r_p, o_p] + b), \qquad r'_p = g_p \, o_p + (1 - g_p) \, r_p

    Args:
        image_features: :math:`r`, ``(B, C, H, W)``, floating point.
        read: :math:`o`, ``(B, C, H, W)``.
        gate_weight: :math:`W`, ``(1, 2C)``: one gate a pixel, the release's; or ``(C, 2C)``: one a channel.
            The first C columns belong to the image, the others to what was read.
        gate_bias: :math:`b`, ``(1,)`` or ``(C,)``.

    Returns:
        The new features, ``(B, C, H, W)``.

    Raises:
        ShapeError, DtypeError, DeviceError: the message names the argument.

    Source: equations 6 and 7 of the paper.

    >>> import torch
    >>> memory_respond(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), torch.zeros(1, 6), torch.zeros(1)).mean()
    tensor(0.5000)
    """
    op = "memory_respond"
    check_shape(op, "image_features", image_features, (None, None, None, None), "(B, C, H, W)")
    check_shape(op, "read", read, tuple(image_features.shape), "(B, C, H, W)")
    check_gate(op, image_features.shape[1], gate_weight, gate_bias)
    cast = autocast(image_features, read, gate_weight, gate_bias)
    check_floating(op, **dict(zip(("image_features", "read", "gate_weight", "gate_bias"), cast)))
    result: Tensor = dispatch.call(op, *cast)
    return result


def check_gate(op: str, channels: int, gate_weight: Tensor, gate_bias: Tensor) -> None:
    """Sizes of the response gate."""
    gates = channels if gate_weight.ndim == 2 and gate_weight.shape[0] == channels else 1
    check_shape(op, "gate_weight", gate_weight, (gates, 2 * channels), "(1, 2C) or (C, 2C)")
    check_shape(op, "gate_bias", gate_bias, (gates,), "(1,) or (C,)")
