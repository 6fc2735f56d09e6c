"""Losses: DAMSM (from memgan, for anyone's GAN), the adversarial terms and the conditioning's KL.

Axis letters: B images, E word width, L words.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from memgan import sentence_loss, words_loss
from reference_models.dmgan.config import LossConfig

__all__ = [
    "DiscriminatorLogits",
    "damsm_loss",
    "discriminator_logits",
    "discriminator_loss",
    "generator_adversarial_loss",
    "kl_loss",
    "sentence_loss",
    "words_loss",
]


class DiscriminatorLogits(NamedTuple):
    """What one discriminator says of a batch, (B,) each."""

    real: Tensor  # real images alone
    fake: Tensor
    conditional_real: Tensor  # real images with their sentences
    conditional_fake: Tensor
    conditional_wrong: Tensor  # real images with another image's sentence


class _Discriminates(Protocol):
    def __call__(
        self, images: Tensor, sentence: Tensor, image_index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...


def discriminator_logits(
    discriminator: _Discriminates, real: Tensor, fake: Tensor, sentence: Tensor, wrong_index: Tensor
) -> DiscriminatorLogits:
    """Everything :func:`discriminator_loss` needs, in one forward pass of ``discriminator``.

    ``real`` and ``fake`` (B, 3, S, S), ``sentence`` (B, E), ``wrong_index`` (B,) int64: whose sentence does
    not fit image i, -1 where the batch has none. ``fake`` should be detached in the discriminator's step.
    """
    count = len(real)
    own = torch.arange(2 * count, device=real.device)
    wrong = sentence[wrong_index.clamp(min=0)]
    conditional, unconditional = discriminator(
        torch.cat([real, fake]), torch.cat([sentence, sentence, wrong]), torch.cat([own, own[:count]])
    )
    return DiscriminatorLogits(*unconditional.chunk(2), *conditional.chunk(3))


def discriminator_loss(logits: DiscriminatorLogits, wrong_index: Tensor | None = None) -> Tensor:
    """``(real + cond_real) / 2 + (fake + cond_fake + cond_wrong) / 3``, binary cross entropies with logits.

    Images without a wrong sentence (``wrong_index`` -1) are left out of that term's mean; without any, the
    term is 0.
    """
    real = _cross_entropy(logits.real, 1.0).mean() + _cross_entropy(logits.conditional_real, 1.0).mean()
    fake = _cross_entropy(logits.fake, 0.0).mean() + _cross_entropy(logits.conditional_fake, 0.0).mean()
    wrong = _cross_entropy(logits.conditional_wrong, 0.0)
    if wrong_index is None:
        wrong = wrong.mean()
    else:
        known = wrong_index >= 0
        wrong = wrong.where(known, 0.0).sum() / known.sum().clamp(min=1)
    return real / 2 + (fake + wrong) / 3


def generator_adversarial_loss(conditional_logits: Tensor, unconditional_logits: Tensor) -> Tensor:
    """Unconditional plus conditional cross entropy of one stage's fakes being taken for real; not halved."""
    return _cross_entropy(unconditional_logits, 1.0).mean() + _cross_entropy(conditional_logits, 1.0).mean()


def kl_loss(mu: Tensor, logvar: Tensor) -> Tensor:
    """Mean (not sum) over all elements of the divergence of N(mu, exp(logvar)) from N(0, 1).

    >>> kl_loss(torch.zeros(2, 3), torch.zeros(2, 3)).item()
    0.0
    """
    mu, logvar = mu.to(_precise(mu)), logvar.to(_precise(logvar))
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean()


class DamsmTerms(NamedTuple):
    """The four cross entropies of DAMSM, () each: given the image find the caption, and the reverse."""

    words0: Tensor
    words1: Tensor
    sentence0: Tensor
    sentence1: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, ()."""
        return self.words0 + self.words1 + self.sentence0 + self.sentence1


def damsm_loss(
    regions: Tensor,
    image_code: Tensor,
    words: Tensor,
    sentence: Tensor,
    word_mask: Tensor | None,
    class_ids: Tensor | None = None,
    *,
    config: LossConfig,
) -> DamsmTerms:
    """Words loss and sentence loss, both directions each; use ``.total``.

    ``regions`` (B, E, h, w), ``image_code`` (B, E), ``words`` (B, L, E), ``sentence`` (B, E). Captions of the
    same class (``class_ids`` (B,)) do not count as negatives. Computed in float32.
    """
    with torch.autocast(regions.device.type, enabled=False):
        regions, image_code, words, sentence = (
            x.to(_precise(x)) for x in (regions, image_code, words, sentence)
        )
        by_words = words_loss(
            regions,
            words,
            word_mask,
            class_ids,
            gamma1=config.gamma1,
            gamma2=config.gamma2,
            gamma3=config.gamma3,
        )
        by_sentence = sentence_loss(image_code, sentence, class_ids, gamma3=config.gamma3)
    return DamsmTerms(*by_words, *by_sentence)


def _precise(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    # -log sigmoid(x) for "real", -log(1 - sigmoid(x)) for "fake": no overflow in any dtype.
    logits = logits.to(_precise(logits))
    return F.softplus(-logits if target else logits)
