"""Key addressing and value reading (DM-GAN, section 3.1): every pixel looks up the words of its image."""

from __future__ import annotations

from torch import Tensor

from memgan.backends import dispatch
from memgan.backends.reference.memory_read import read_pixels, release_rows
from memgan.ops._checks import autocast, check_floating, check_shape, checked_mask, scaled
from memgan.types import ReadAndAttention


def memory_read(
    image_features: Tensor,
    keys: Tensor,
    values: Tensor,
    word_mask: Tensor | None = None,
    *,
    scale: float | Tensor = 1.0,
    return_attention: bool = False,
) -> ReadAndAttention:
    r"""Let every pixel look up the memory: address by key, read by value.

    .. math:: a_{pl} = \operatorname{softmax}_l(s \, r_p \cdot k_l), \qquad o_p = \sum_l a_{pl} v_l

    Args:
        image_features: :math:`r`, ``(B, C, H, W)``, floating point, contiguous or channels_last.
        keys: ``(B, L, C)``.
        values: ``(B, L, D)``.
        word_mask: ``(B, L)``, bool or integer, **True or 1 for a real word** (the release uses 1 for padding);
            None: all words are real. What stands in padding, a NaN too, changes nothing; its gradient is 0.
        scale: :math:`s`; 1 as in the paper, which does not divide by :math:`\sqrt C`. A tensor of one number has a
            gradient, too.
        return_attention: also return the attention; without it no tensor of ``B * L * H * W`` need be written.

    Returns:
        What was read, ``(B, D, H, W)``, and the attention, ``(B, L, H, W)``, which sums to 1 over ``L``, or None.
        An image without any real word reads zeros and has zero attention.

    Raises:
        ShapeError, DtypeError, DeviceError: the message names the argument.
        BackendUnavailable: a backend was forced and cannot run this input.

    Source: equations 4 and 5 of the paper. First and second derivatives for every floating argument.

    >>> import torch
    >>> read, attention = memory_read(torch.zeros(2, 3, 5, 7), torch.zeros(2, 11, 3), torch.ones(2, 11, 13),
    ...                               return_attention=True)
    >>> read.shape, attention.shape
    (torch.Size([2, 13, 5, 7]), torch.Size([2, 11, 5, 7]))
    """
    op = "memory_read"
    mask = check_read(op, image_features, keys, values, word_mask)
    features, keys, values = autocast(image_features, keys, values)  # type: ignore[assignment]
    check_floating(op, image_features=features, keys=keys, values=values)
    keys, scale = scaled(op, keys, scale)
    result: ReadAndAttention = dispatch.call(
        op, features, keys, values, mask, scale=scale, return_attention=return_attention
    )
    return result


def check_read(
    op: str, image_features: Tensor, keys: Tensor, values: Tensor, word_mask: Tensor | None
) -> Tensor | None:
    """Sizes of a read; the mask as bool or None."""
    check_shape(op, "image_features", image_features, (None, None, None, None), "(B, C, H, W)")
    batch, channels = image_features.shape[:2]
    check_shape(op, "keys", keys, (batch, None, channels), "(B, L, C)")
    words = keys.shape[1]
    check_shape(op, "values", values, (batch, words, None), "(B, L, D)")
    return checked_mask(op, word_mask, batch, words, image_features.device)


def memory_read_release_rows(
    image_features: Tensor,
    keys: Tensor,
    values: Tensor,
    word_mask: Tensor | None,
    *,
    scale: float | Tensor = 1.0,
    return_attention: bool = False,
) -> ReadAndAttention:
    """:func:`memory_read` with the DM-GAN release's mask rows: what an image reads depends on its neighbours.

    Only to reproduce the outputs of released weights on the same batches; always the plain definition.
    """
    op = "memory_read"
    mask = check_read(op, image_features, keys, values, word_mask)
    features, keys, values = autocast(image_features, keys, values)  # type: ignore[assignment]
    check_floating(op, image_features=features, keys=keys, values=values)
    keys, scale = scaled(op, keys, scale)
    assert features is not None
    rows = None if mask is None else release_rows(mask, features.shape[2] * features.shape[3])
    return read_pixels(features, keys, values, rows, scale, return_attention)
