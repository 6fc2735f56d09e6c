"""Losses against their formulas written out in probabilities, in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from reference_models.dmgan.config import DiscriminatorConfig, LossConfig
from reference_models.dmgan.discriminator import Discriminator
from reference_models.dmgan.losses import (
    DiscriminatorLogits,
    damsm_loss,
    discriminator_logits,
    discriminator_loss,
    generator_adversarial_loss,
    kl_loss,
    sentence_loss,
    words_loss,
)


def _bce(logits: torch.Tensor, target: float) -> torch.Tensor:
    return F.binary_cross_entropy(logits.sigmoid(), torch.full_like(logits, target))


def test_discriminator_loss_is_halves_of_real_and_thirds_of_fake() -> None:
    logits = DiscriminatorLogits(*torch.randn(5, 7, dtype=torch.float64))
    expected = (_bce(logits.real, 1) + _bce(logits.conditional_real, 1)) / 2
    expected = (
        expected
        + (_bce(logits.fake, 0) + _bce(logits.conditional_fake, 0) + _bce(logits.conditional_wrong, 0)) / 3
    )
    torch.testing.assert_close(discriminator_loss(logits), expected)


def test_images_without_a_wrong_caption_are_left_out_of_that_mean() -> None:
    logits = DiscriminatorLogits(*torch.randn(5, 4, dtype=torch.float64))
    wrong_index = torch.tensor([2, -1, 0, -1])
    wrong = _bce(logits.conditional_wrong[[0, 2]], 0)
    rest = discriminator_loss(logits) - _bce(logits.conditional_wrong, 0) / 3
    torch.testing.assert_close(discriminator_loss(logits, wrong_index), rest + wrong / 3)
    torch.testing.assert_close(discriminator_loss(logits, torch.full((4,), -1)), rest)


def test_large_logits_stay_finite_in_half_precision() -> None:
    logits = DiscriminatorLogits(*torch.full((5, 3), 3e4, dtype=torch.float16))
    assert discriminator_loss(logits).isfinite()
    assert generator_adversarial_loss(-logits.real, -logits.real).item() == pytest.approx(6e4, rel=1e-3)


def test_logits_in_one_pass_pair_the_right_images_with_the_right_captions() -> None:
    network = Discriminator(16, DiscriminatorConfig(width=2, word_dim=6, spectral_norm=False))
    real, fake = torch.randn(2, 3, 3, 16, 16)
    sentence, wrong_index = torch.randn(3, 6), torch.tensor([1, -1, 0])
    logits = discriminator_logits(network, real, fake, sentence, wrong_index)
    conditional, unconditional = network(real, sentence)
    torch.testing.assert_close(logits.real, unconditional)
    torch.testing.assert_close(logits.conditional_real, conditional)
    conditional, unconditional = network(fake, sentence)
    torch.testing.assert_close(logits.fake, unconditional)
    torch.testing.assert_close(logits.conditional_fake, conditional)
    torch.testing.assert_close(logits.conditional_wrong[:1], network(real[:1], sentence[1:2])[0])
    torch.testing.assert_close(logits.conditional_wrong[2:], network(real[2:], sentence[:1])[0])


def test_generator_loss_is_the_unhalved_sum() -> None:
    conditional, unconditional = torch.randn(2, 5, dtype=torch.float64)
    expected = _bce(conditional, 1) + _bce(unconditional, 1)
    torch.testing.assert_close(generator_adversarial_loss(conditional, unconditional), expected)


def test_kl_is_the_mean_divergence_from_the_standard_normal() -> None:
    mu, logvar = torch.randn(2, 4, 5, dtype=torch.float64)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0.0, 1.0)).mean()
    torch.testing.assert_close(kl_loss(mu, logvar), expected)


def test_damsm_is_the_sum_of_both_losses_both_ways() -> None:
    regions, words = torch.randn(4, 6, 3, 3), torch.randn(4, 5, 6)
    code, sentence = torch.randn(2, 4, 6)
    mask = torch.arange(5)[None] < torch.tensor([5, 2, 3, 1])[:, None]
    classes = torch.tensor([0, 1, 0, 2])
    terms = damsm_loss(regions, code, words, sentence, mask, classes, config=LossConfig())
    expected = sum(words_loss(regions, words, mask, classes, gamma1=4.0, gamma2=5.0, gamma3=10.0))
    expected = expected + sum(sentence_loss(code, sentence, classes, gamma3=10.0))
    torch.testing.assert_close(terms.total, expected)
    with torch.autocast("cpu", torch.bfloat16):
        again = damsm_loss(regions, code, words, sentence, mask, classes, config=LossConfig())
    torch.testing.assert_close(again.total, terms.total)
