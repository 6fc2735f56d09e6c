"""Evaluated images are those that ``sample`` draws, whatever the batch size."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from reference_models.dmgan.config import Config, birds_demo
from reference_models.dmgan.data.birds.dataset import birds_vocabulary
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.drawing import draw_images
from reference_models.dmgan.evaluation.images import to_uint8
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.sampling import SampledModel, generate
from reference_models.dmgan.text_encoder import TextEncoder

TEXTS = ["a bird with a red crown", "this bird has blue wings and a long yellow tail", "a bird", "white legs"]


def model() -> SampledModel:
    config: Config = birds_demo()
    small = dataclasses.replace(config.generator, channels=4, noise_dim=5, condition_dim=6)
    vocabulary = birds_vocabulary()
    text = TextEncoder(len(vocabulary), config.text).eval()
    generator = Generator(small).eval()
    with torch.no_grad():
        generator.heads[-1][0].weight.mul_(
            300
        )  # untrained images are nearly grey: everything would look equal
    return SampledModel(generator, text, vocabulary, config)


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_images_equal_those_of_sample_for_every_batch_size(batch: int) -> None:
    drawn = model()
    ours = draw_images(drawn.generator, drawn.text_encoder, drawn.vocabulary, TEXTS, seed=3, batch=batch)
    theirs = {one.index: one.images[-1] for one in generate(drawn, TEXTS, seed=3, batch_size=2)}
    for index, image in enumerate(ours):
        expected = to_uint8(theirs[index][None])[0].permute(1, 2, 0).numpy()
        # Two grey levels: other batch sizes sum in another order.
        assert np.abs(image.astype(int) - expected).max() <= 2


def test_the_first_images_do_not_depend_on_how_many_follow() -> None:
    drawn = model()
    parts = (drawn.generator, drawn.text_encoder, drawn.vocabulary)
    few, many = draw_images(*parts, TEXTS[:2]), draw_images(*parts, TEXTS)
    assert np.abs(few.astype(int) - many[:2]).max() <= 2
    assert np.abs(many.astype(int) - draw_images(*parts, TEXTS, seed=1)).max() > 20


def test_a_network_in_training_mode_and_an_unknown_caption_are_refused() -> None:
    drawn = model()
    parts = (drawn.generator, drawn.text_encoder, drawn.vocabulary)
    with pytest.raises(DataError, match="'xyzzy' has no word"):
        draw_images(*parts, ["a bird", "xyzzy"])
    drawn.text_encoder.train()
    with pytest.raises(DataError, match="text encoder must be in eval mode"):
        draw_images(*parts, TEXTS)
    assert torch.is_grad_enabled()


def test_progress_is_told_in_ten_lines_at_most() -> None:
    drawn = model()
    parts = (drawn.generator, drawn.text_encoder, drawn.vocabulary)
    lines: list[str] = []
    draw_images(*parts, TEXTS * 7, batch=1, say=lines.append)
    assert len(lines) == 10
    assert lines[-1] == "drew 28/28 images"
    lines.clear()
    draw_images(*parts, TEXTS, batch=4, say=lines.append)
    assert lines == ["drew 4/4 images"]
