"""The gate, with the shipped networks: real birds pass, and every cheap way to fool one score fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reference_models.dmgan.data.birds.attributes import NAMES
from reference_models.dmgan.evaluation.damage import blur, pattern
from reference_models.dmgan.evaluation.embedded import Captions, Looks, Networks, score
from reference_models.dmgan.evaluation.gate import Gate, gate
from reference_models.dmgan.evaluation.images import network_input, to_uint8
from reference_models.dmgan.evaluation.reference import Reference


def spoil(images: np.ndarray, how: str) -> np.ndarray:
    """Spoiled copies of uint8 images (I, S, S, 3)."""
    rng = np.random.default_rng(5)
    pixels = network_input(images)
    if how == "blurred":
        pixels = blur(pixels, 1.5)
    elif how == "grid":
        count = len(pixels)
        pixels = pattern(pixels, torch.full((count,), 0.5), torch.full((count,), 4.0), torch.zeros(count))
    elif how == "shuffled":
        # Another species' picture for every caption: 50 species in turn, so a shift by 1 to 49 changes each.
        pixels = pixels.roll(17, 0)
    elif how == "one bird":
        pixels = pixels[:50].repeat(14, 1, 1, 1)  # each species' single best picture again and again
        pixels = (pixels + 0.01 * torch.from_numpy(rng.standard_normal(pixels.shape)).float()).clamp(-1, 1)
    return to_uint8(pixels).permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module")
def answer(
    networks: Networks, reference: Reference, captions: Captions, real: Looks, others: np.ndarray
) -> object:
    def scored(how: str) -> Gate:
        scores = score(spoil(others, how), real, captions, networks, reference, names=NAMES)
        return gate({"scores": scores})

    return scored


@pytest.mark.slow
def test_real_birds_pass_the_gate(answer) -> None:  # type: ignore[no-untyped-def]
    result = answer("as they are")
    assert result.passed, result
    values = {term.name: term.value for term in result.terms}
    assert values["attribute progress"] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "failed"),
    [
        ("blurred", "R-precision"),
        ("grid", "R-precision"),
        ("shuffled", "attribute progress"),
        ("one bird", "recall"),
    ],
)
def test_spoiled_birds_fail_the_gate(answer, how: str, failed: str) -> None:  # type: ignore[no-untyped-def]
    result = answer(how)
    assert not result.passed, result
    assert failed in [term.name for term in result.terms if not term.passed], result
