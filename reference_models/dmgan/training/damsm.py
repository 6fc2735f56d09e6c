"""DAMSM over all ranks' images and captions: each rank's negatives are those of the whole batch.

Every rank compares its own images with all captions, b rows of the (B, B) scores. Captions are gathered for that
and, afterwards, the scores, one number a pair; regions, fifteen times larger than words, never travel, and the work
and memory of a rank grow with B, not with its square.

Axis letters: b images of this rank, B of all ranks, J = B captions, L words, E word width, R regions.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from reference_models.dmgan.config import LossConfig
from reference_models.dmgan.losses import DamsmTerms, damsm_loss
from reference_models.dmgan.training.distributed import World, gather, largest


def gathered_damsm(
    world: World,
    regions: Tensor,
    image_code: Tensor,
    words: Tensor,
    sentence: Tensor,
    word_mask: Tensor,
    class_ids: Tensor,
    *,
    config: LossConfig,
) -> DamsmTerms:
    """:func:`damsm_loss` of the concatenation over ranks, the same number on each; one process: the plain loss.

    Captions of different ranks may differ in length: all are padded to the longest.
    """
    if world.size == 1:
        return damsm_loss(regions, image_code, words, sentence, word_mask, class_ids, config=config)
    missing = largest(world, words.shape[1], words.device) - words.shape[1]
    with torch.autocast(regions.device.type, enabled=False):
        regions, image_code, words, sentence = (
            x.to(torch.promote_types(x.dtype, torch.float32)) for x in (regions, image_code, words, sentence)
        )
        words = gather(world, F.pad(words, (0, 0, 0, missing)))
        word_mask = gather(world, F.pad(word_mask, (0, missing)).int()) > 0
        sentence, class_ids = gather(world, sentence), gather(world, class_ids)
        by_words = words_similarity(regions, words, word_mask, config.gamma1, config.gamma2)
        by_sentence = F.cosine_similarity(image_code[:, None], sentence[None], dim=2, eps=1e-8)
        scores = config.gamma3 * gather(
            world, torch.stack([by_words, by_sentence], 1), alike=True
        )  # (B, 2, J)
        return DamsmTerms(*_matching(scores[:, 0], class_ids), *_matching(scores[:, 1], class_ids))


def words_similarity(
    regions: Tensor, words: Tensor, word_mask: Tensor, gamma1: float, gamma2: float
) -> Tensor:
    """R(image, caption) of :func:`memgan.words_loss`, (b, J), of ``regions`` (b, E, h, w) and ``words`` (J, L, E)."""
    lowest = torch.finfo(words.dtype).min
    words = words.masked_fill(~word_mask[:, :, None], 0.0)
    places = rearrange(regions, "b e h w -> b e (h w)")
    scores = torch.einsum("jle,ber->bjlr", words, places)
    over_words = torch.softmax(scores.masked_fill(~word_mask[:, :, None], lowest), dim=2)
    attention = torch.softmax(gamma1 * over_words, dim=3)
    context = torch.einsum("bjlr,ber->bjle", attention, places)
    cosine = F.cosine_similarity(context, words[None], dim=3, eps=1e-8)
    similarity = torch.logsumexp((gamma2 * cosine).masked_fill(~word_mask, lowest), dim=2)
    return similarity.masked_fill(~word_mask.any(1), 0.0)


def _matching(logits: Tensor, class_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropies of the diagonal of ``logits`` (B, B) by rows and by columns; the same class is no negative."""
    same = class_ids[:, None] == class_ids[None]
    same = same & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(same, float("-inf"))
    target = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, target), F.cross_entropy(logits.t(), target)
