"""DAMSM's words loss (AttnGAN, section 3.2), batched over captions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor

from memgan.ops._checks import autocast_to_float32, check_floating, check_shape, checked_mask
from memgan.ops.sentence_loss import matching_losses

# Captions are taken in chunks so that no tensor of the similarity has more elements than this (256 MB in float32).
CHUNK_ELEMENTS = 2**26
LENGTH_GROUPS = 4  # at batch 48 with 5 to 18 words: 0.58 s forward and backward, 0.63 as one, 0.65 as eight


def words_loss(
    regions: Tensor,
    words: Tensor,
    word_mask: Tensor | None,
    class_ids: Tensor | None = None,
    *,
    gamma1: float = 4.0,
    gamma2: float = 5.0,
    gamma3: float = 10.0,
) -> tuple[Tensor, Tensor]:
    r"""How well words and image regions find each other in a batch, both ways.

    For caption j and image i with regions :math:`v_r`, words attend to regions,
    :math:`a_{lr} = \operatorname{softmax}_r(\gamma_1 \operatorname{softmax}_l(w_l \cdot v_r))`, and

    .. math:: R_{ij} = \log \sum_l \exp(\gamma_2 \cos(w_l, \textstyle\sum_r a_{lr} v_r))

    Args:
        regions: image regions, ``(B, E, h, w)``.
        words: word features, ``(B, L, E)``.
        word_mask: ``(B, L)``, bool or integer, True or 1 for a real word; None: all words are real.
        class_ids: ``(B,)``, integers; captions of an image's own class do not count as negatives. None: all do.
        gamma1, gamma2, gamma3: the temperatures; 4, 5, 10 in the paper. As in the release :math:`R` has no outer
            :math:`1/\gamma_2`, and :math:`\gamma_3` multiplies it directly.

    Returns:
        ``(loss0, loss1)``, both ``()``: the cross entropy of finding the caption of an image, and the image of a
        caption.

    Under autocast both losses are computed in float32 (float64 stays).

    Raises:
        ShapeError, DtypeError, DeviceError: the message names the argument.

    Source: AttnGAN, section 3.2.

    >>> loss0, loss1 = words_loss(torch.ones(3, 5, 4, 4), torch.ones(3, 7, 5), None)
    >>> loss0.item() == loss1.item()
    True
    """
    op = "words_loss"
    check_shape(op, "regions", regions, (None, None, None, None), "(B, E, h, w)")
    batch, width = regions.shape[:2]
    check_shape(op, "words", words, (batch, None, width), "(B, L, E)")
    regions, words = autocast_to_float32(regions, words)
    check_floating(op, regions=regions, words=words)
    length = words.shape[1]
    mask = checked_mask(op, word_mask, batch, length, words.device)
    if mask is None:
        mask = torch.ones(batch, length, dtype=torch.bool, device=words.device)
    flat = rearrange(regions, "b e h w -> b e (h w)")
    groups = list(_groups(mask, max(flat.shape[2], width)))
    with torch.autocast(regions.device.type, enabled=False):
        similarity = torch.cat(
            [
                _similarity(flat, words[rows, :longest], mask[rows, :longest], gamma1, gamma2)
                for rows, longest in groups
            ],
            dim=1,
        )
    if len(groups) > 1:
        similarity = similarity[:, torch.cat([rows for rows, _ in groups]).argsort()]
    return matching_losses(gamma3 * similarity, class_ids)


def _groups(mask: Tensor, width: int) -> Iterator[tuple[Tensor, int]]:
    """Rows of captions to be taken together, and the place of their last real word; every row once.

    On a CPU captions of like length are together, so that little is computed for padding. Elsewhere lengths stay
    unread: that would wait for the device, or break a trace.
    """
    batch, length = mask.shape
    most = max(1, CHUNK_ELEMENTS // max(1, batch * length * width))
    if mask.device.type != "cpu" or torch.compiler.is_compiling():
        for rows in torch.arange(batch, device=mask.device).split(most):
            yield rows, length
        return
    places = torch.arange(1, length + 1) * mask
    last = places.amax(1) if length else places.sum(1)
    ordered = last.argsort(stable=True)
    for rows in ordered.split(max(1, min(most, -(-batch // LENGTH_GROUPS)))):
        yield rows, max([1, *last[rows].tolist()])


def _similarity(regions: Tensor, words: Tensor, mask: Tensor, gamma1: float, gamma2: float) -> Tensor:
    """R(image, caption), (B, J), of ``regions`` (B, E, R) and the ``words`` (J, L, E) of J captions."""
    captions, length = words.shape[:2]
    words = words.masked_fill(~mask[:, :, None], 0.0)
    lowest = torch.finfo(words.dtype).min
    scores = torch.matmul(rearrange(words, "j l e -> (j l) e"), regions)  # (B, J L, R)
    scores = scores.unflatten(1, (captions, length))
    # In place: the product needs no result for its gradient, and this is one of the largest tensors.
    over_words = torch.softmax(scores.masked_fill_(~mask[:, :, None], lowest), dim=2)
    attention = torch.softmax(gamma1 * over_words, dim=3)
    context = torch.matmul(
        rearrange(attention, "b j l r -> b (j l) r"), regions.transpose(1, 2)
    )  # (B, J L, E)
    # Not F.cosine_similarity: it expands the words over the images and divides both by their norms first.
    flat = rearrange(words, "j l e -> (j l) e")
    norms = torch.linalg.vector_norm(context, dim=2) * torch.linalg.vector_norm(flat, dim=1)
    cosine = ((context * flat).sum(2) / norms.clamp(min=1e-8)).unflatten(1, (captions, length))
    return torch.logsumexp((gamma2 * cosine).masked_fill(~mask, lowest), dim=2)
