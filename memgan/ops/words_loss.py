"""DAMSM's words loss (AttnGAN, section 3.2), batched over captions."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from einops import rearrange
from torch import Tensor

from memgan.ops._checks import autocast_to_float32, check_floating, check_shape, checked_mask
from memgan.ops.sentence_loss import least_norm, matching_losses

# Captions are taken in chunks so that no tensor of the similarity has more elements than this (256 MB in float32).
CHUNK_ELEMENTS = 2**26


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
        word_mask: ``(B, L)``, bool or integer, True or 1 for a real word; None: all words are real. A caption
            without any counts as one word of zeros: :math:`R = 0` with every image, and no gradient.
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
    most = max(1, CHUNK_ELEMENTS // max(1, batch * length * max(flat.shape[2], width)))
    # Lengths are read on a CPU alone: elsewhere that would wait for the device, or break a trace.
    packs = batch > 0 and mask.device.type == "cpu" and not torch.compiler.is_compiling()
    order = mask.sum(1).argsort(stable=True) if packs else torch.arange(batch, device=mask.device)
    similar = _similarity_of_packed if packs else _similarity
    device = regions.device.type  # there is no autocast of meta tensors to turn off
    with nullcontext() if device == "meta" else torch.autocast(device, enabled=False):
        columns = [similar(flat, words[rows], mask[rows], gamma1, gamma2) for rows in order.split(most)]
        similarity = torch.cat(columns, dim=1)
    if packs:
        similarity = similarity[:, order.argsort()]
    return matching_losses(op, gamma3 * similarity, class_ids)


def _similarity(regions: Tensor, words: Tensor, mask: Tensor, gamma1: float, gamma2: float) -> Tensor:
    """R(image, caption), (B, J), of ``regions`` (B, E, R) and the ``words`` (J, L, E) of J captions."""
    captions, length = words.shape[:2]
    lowest = torch.finfo(words.dtype).min
    flat = rearrange(words.masked_fill(~mask[:, :, None], 0.0), "j l e -> (j l) e")
    scores = torch.matmul(flat, regions).unflatten(1, (captions, length))  # (B, J, L, R)
    # In place: the product needs no result for its gradient, and this is one of the largest tensors.
    over_words = torch.softmax(scores.masked_fill_(~mask[:, :, None], lowest), dim=2)
    attention = torch.softmax(gamma1 * over_words, dim=3).flatten(1, 2)
    cosine = _cosine(attention, flat, regions).unflatten(1, (captions, length))
    similarity = torch.logsumexp((gamma2 * cosine).masked_fill(~mask, lowest), dim=2)
    return similarity.masked_fill(~mask.any(1), 0.0)


def _similarity_of_packed(
    regions: Tensor, words: Tensor, mask: Tensor, gamma1: float, gamma2: float
) -> Tensor:
    """:func:`_similarity` of captions whose numbers of real words ascend, and nothing computed for padding.

    The products take all real words at once, the softmaxes all captions of one length.
    """
    counts, captions = mask.sum(1).unique_consecutive(return_counts=True)
    shapes = list(zip(captions.tolist(), counts.tolist()))
    sizes = [number * length for number, length in shapes]
    real = words.flatten(0, 1)[mask.flatten().nonzero().squeeze(1)]  # (W, E)
    # A batched product, not torch.matmul: that would lay the result out by regions, and copy what reads it.
    scores = torch.bmm(real.expand(len(regions), -1, -1), regions)  # (B, W, R)
    attention = torch.cat(
        [
            torch.softmax(gamma1 * torch.softmax(own.unflatten(1, shape), dim=2), dim=3).flatten(1, 2)
            for own, shape in zip(scores.split(sizes, dim=1), shapes)
        ],
        dim=1,
    )
    cosine = _cosine(attention, real, regions).split(sizes, dim=1)
    similarity = [  # of no word at all, the sum: 0, and a gradient of nothing
        (torch.logsumexp if shape[1] else torch.sum)(gamma2 * own.unflatten(1, shape), dim=2)
        for own, shape in zip(cosine, shapes)
    ]
    return torch.cat(similarity, dim=1)


def _cosine(attention: Tensor, words: Tensor, regions: Tensor) -> Tensor:
    """Of words (W, E) and what they attend to by ``attention`` (B, W, R) in ``regions`` (B, E, R): (B, W)."""
    context = torch.bmm(attention, regions.transpose(1, 2))  # (B, W, E)
    wide = torch.promote_types(context.dtype, torch.float32)  # norms overflow in float16
    context, words = context.to(wide), words.to(wide)
    # Not F.cosine_similarity: it expands the words over the images and divides both by their norms first.
    norms = torch.linalg.vector_norm(context, dim=2) * torch.linalg.vector_norm(words, dim=1)
    cosine = (context * words).sum(2) / norms.clamp(min=least_norm(regions.dtype))
    return cosine.to(regions.dtype)
