"""A model as one ``torch.export`` program: word ids, lengths and noise in, images out, without this package.

Axis letters: B captions, T word ids with padding, Z noise, c condition, S pixels.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import memgan
from reference_models.dmgan.config import Config
from reference_models.dmgan.data.birds.captions import LONGEST
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.sampling import SampledModel
from reference_models.dmgan.text_encoder import word_mask


class Drawing(nn.Module):
    """Text encoder and generator behind one call."""

    def __init__(self, model: SampledModel) -> None:
        super().__init__()
        self.text_encoder, self.generator = model.text_encoder, model.generator
        self.noise_dim = model.config.generator.noise_dim

    def forward(self, captions: Tensor, lengths: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """``captions`` (B, T), ``lengths`` (B,), ``noise`` (B, Z + c) → (B, 3, S, S) each, lowest resolution first."""
        words, sentence = self.text_encoder(captions, lengths)
        images = self.generator(
            noise[:, : self.noise_dim],
            sentence,
            words,
            word_mask(lengths, words.shape[1]),
            condition_noise=noise[:, self.noise_dim :],
        ).images
        return tuple(images)


def caption_width(config: Config) -> int:
    """Word ids that the longest caption of the model's data has: of the embedded birds none is cut."""
    return max(config.data.max_words, LONGEST if config.data.layout == "birds" else 0)


def export_model(model: SampledModel) -> ExportedProgram:
    """``model`` as a program for any number of captions, padded to :func:`caption_width` word ids.

    :func:`save_program` writes it, and whoever loads it needs torch alone: memgan's definitions are traced, not its
    kernels. Noise is :func:`reference_models.dmgan.sampling.noise_for`'s, or any standard normal.
    """
    config, width = model.config, caption_width(model.config)
    captions, lengths = torch.ones(2, width, dtype=torch.int64), torch.tensor([width, 3])
    noise = torch.zeros(2, config.generator.noise_dim + config.generator.condition_dim)
    batch = {0: Dim.AUTO}
    with warnings.catch_warnings(), memgan.use_backend("reference"), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.export warns of its own internals
        return torch.export.export(
            Drawing(model).eval(), (captions, lengths, noise), dynamic_shapes=(batch, batch, batch)
        )


def save_program(program: ExportedProgram, path: Path | str) -> None:
    """``torch.export.save``, whole or not at all."""
    with write_atomically(path) as temporary, warnings.catch_warnings():
        # Of the LSTM's weights, which share one storage; on a CPU, as here, all of them are stored.
        warnings.filterwarnings("ignore", message="No complete tensor found")
        with open(temporary, "wb") as file:
            torch.export.save(program, file)
