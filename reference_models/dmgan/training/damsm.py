"""DAMSM over all ranks' images and captions: each rank's negatives are those of the whole batch."""

from __future__ import annotations

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
    if world.size > 1:
        missing = largest(world, words.shape[1], words.device) - words.shape[1]
        words, word_mask = F.pad(words, (0, 0, 0, missing)), F.pad(word_mask, (0, missing))
        regions, image_code = gather(world, regions.float()), gather(world, image_code.float())
        words, sentence = gather(world, words), gather(world, sentence)
        word_mask, class_ids = gather(world, word_mask.int()) > 0, gather(world, class_ids)
    return damsm_loss(regions, image_code, words, sentence, word_mask, class_ids, config=config)
