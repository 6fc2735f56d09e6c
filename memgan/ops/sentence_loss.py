"""DAMSM's sentence loss (AttnGAN, section 3.2), and the matching that both DAMSM losses end in."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memgan.errors import DeviceError, DtypeError
from memgan.ops._checks import autocast_to_float32, check_floating, check_shape


def sentence_loss(
    image_code: Tensor, sentence: Tensor, class_ids: Tensor | None = None, *, gamma3: float = 10.0
) -> tuple[Tensor, Tensor]:
    r"""How well whole sentences and whole images find each other in a batch, both ways.

    .. math:: R_{ij} = \cos(\text{image}_i, \text{sentence}_j)

    Args:
        image_code: ``(B, E)``.
        sentence: ``(B, E)``.
        class_ids: ``(B,)``, integers; sentences of an image's own class do not count as negatives. None: all do.
        gamma3: temperature of the softmax, 10 in the paper.

    Returns:
        ``(loss0, loss1)``, both ``()``: the cross entropy of finding the sentence of an image, and the image of a
        sentence.

    Under autocast both losses are computed in float32 (float64 stays).

    Raises:
        ShapeError, DtypeError, DeviceError: the message names the argument.

    Source: AttnGAN, section 3.2.

    >>> loss0, loss1 = sentence_loss(torch.eye(3), torch.eye(3))
    >>> bool(loss0 < 0.01) and bool(loss0 == loss1)
    True
    """
    op = "sentence_loss"
    check_shape(op, "image_code", image_code, (None, None), "(B, E)")
    check_shape(op, "sentence", sentence, tuple(image_code.shape), "(B, E)")
    image_code, sentence = autocast_to_float32(image_code, sentence)
    check_floating(op, image_code=image_code, sentence=sentence)
    dtype = image_code.dtype
    wide = torch.promote_types(dtype, torch.float32)  # norms overflow in float16
    left, right = image_code.to(wide)[:, None], sentence.to(wide)[None]
    cosine = F.cosine_similarity(left, right, dim=2, eps=least_norm(dtype)).to(dtype)
    return matching_losses(op, gamma3 * cosine, class_ids)


def least_norm(dtype: torch.dtype) -> float:
    """What norms of vectors of ``dtype`` are taken for at least, so that the cosine of zeros is 0.

    The release's number; its inverse, in the gradient of zeros, is beyond float16.
    """
    return torch.finfo(dtype).eps if dtype == torch.float16 else 1e-8


def matching_losses(op: str, logits: Tensor, class_ids: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cross entropies of the diagonal of ``logits`` (image, caption) by rows and by columns, for ``op``."""
    batch = logits.shape[0]
    if class_ids is not None:
        check_shape(op, "class_ids", class_ids, (batch,), "(B,)")
        if class_ids.is_floating_point():
            raise DtypeError(f"{op}: `class_ids` must be integers, got {class_ids.dtype}.")
        if class_ids.device != logits.device:
            raise DeviceError(f"{op}: `class_ids` must be on {logits.device}, got {class_ids.device}.")
        same = class_ids[:, None] == class_ids[None, :]
        same = same & ~torch.eye(batch, dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(same, float("-inf"))
    target = torch.arange(batch, device=logits.device)
    return F.cross_entropy(logits, target), F.cross_entropy(logits.t(), target)
