"""The same captions with the same noise, drawn again and again: what a person watches during training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reference_models.dmgan.config import Config
from reference_models.dmgan.data.batch import CaptionedImages, collate
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.training.weights import Encoders


def to_uint8(images: Tensor) -> np.ndarray:
    """(B, 3, S, S) in [-1, 1] → (B, S, S, 3) uint8, rounded."""
    scaled = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def stage_sheet(images: list[Tensor]) -> np.ndarray:
    """Every stage of every image, enlarged to the largest: one column an image, one row a stage."""
    largest = images[-1].shape[-1]
    rows = []
    for stage in images:
        factor = largest // stage.shape[-1]
        pixels = to_uint8(stage).repeat(factor, 1).repeat(factor, 2)
        rows.append(np.concatenate(list(pixels), axis=1))
    return np.concatenate(rows, axis=0)


class FixedGrid:
    """Twelve captions of the data set and noise of their own, kept for the whole run."""

    COUNT = 12

    def __init__(
        self, images: CaptionedImages, encoders: Encoders, config: Config, device: torch.device
    ) -> None:
        rng = np.random.default_rng(0)
        chosen = np.linspace(0, len(images) - 1, min(self.COUNT, len(images))).astype(int)
        items = [images.item(int(index), rng, train=False) for index in chosen]
        batch = collate(items, config.generator.sizes).to(device)
        generator = torch.Generator().manual_seed(0)  # its own: the run's noise must not depend on the grid
        settings = config.generator
        self._noise = torch.randn(len(items), settings.noise_dim, generator=generator).to(device)
        self._condition = torch.randn(len(items), settings.condition_dim, generator=generator).to(device)
        with torch.no_grad():
            self._words, self._sentence = encoders.text(batch.captions, batch.lengths)
        self._mask = batch.word_mask[:, : self._words.shape[1]]

    @torch.inference_mode()
    def write(self, generator: nn.Module, path: Path) -> None:
        """Draw the grid with ``generator`` (in eval mode) and write it as PNG."""
        output = generator(
            self._noise, self._sentence, self._words, self._mask, condition_noise=self._condition
        )
        with write_atomically(path) as temporary:
            Image.fromarray(stage_sheet(output.images)).save(temporary, format="PNG")
