"""Captions in, images out: load a trained model and draw with it.

Axis letters: B captions of a batch, Z noise, S pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reference_models.dmgan.config import Config
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.weights import load_generator, load_text_encoder, read_config

SHIPPED = Path(__file__).parent / "weights" / "birds_demo"


@dataclass(frozen=True)
class SampledModel:
    """What drawing needs, frozen and in eval mode."""

    generator: Generator
    text_encoder: TextEncoder
    vocabulary: Vocabulary
    config: Config


@dataclass(frozen=True)
class Drawn:
    """One caption's images."""

    index: int  # of the caption in the list that was asked for
    caption: str
    unknown: tuple[str, ...]  # words that the vocabulary lacks, which were left out
    images: tuple[Tensor, ...]  # (3, S, S) float32 in [-1, 1] each, lowest resolution first


def load_model(path: Path | str = SHIPPED, *, device: torch.device | str = "cpu") -> SampledModel:
    """The averaged generator and its text encoder.

    ``path`` is a run's folder (its ``export`` is taken), a folder that ``import`` wrote, or a shipped one.

    Raises:
        FileNotFoundError: a file is missing; the message names it.
        CheckpointError: a file is damaged or of another configuration.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no model's folder {folder}; `train` writes one, and so does `import`"
        )
    if not (folder / "generator.safetensors").exists() and (folder / "export").is_dir():
        folder = folder / "export"
    config = read_config(folder)
    text, vocabulary = load_text_encoder(folder, config)
    return SampledModel(load_generator(folder, config).to(device), text.to(device), vocabulary, config)


def generate(
    model: SampledModel, captions: Sequence[str], *, seed: int = 0, batch_size: int = 16
) -> Iterator[Drawn]:
    """Draw every caption once; results come as batches finish, captions of like length together.

    The noise of caption ``i`` depends on (seed, i) alone, so neither the batch size nor the other captions
    change its image.

    Raises:
        DataError: a caption is empty or holds no word that the model knows.
    """
    if batch_size < 1:
        raise DataError(f"`batch_size` must be at least 1, got {batch_size}")
    known = [model.vocabulary.encode_reporting(caption) for caption in captions]
    for caption, (ids, _) in zip(captions, known):
        if not ids:
            told = "is empty" if not caption.strip() else "has no word that the model knows"
            raise DataError(f"the caption {caption!r} {told}; it knows {_examples(model.vocabulary)}")
    order = sorted(range(len(captions)), key=lambda index: len(known[index][0]))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        images = _draw(model, [known[index][0] for index in chosen], chosen, seed)
        for row, index in enumerate(chosen):
            stages = tuple(stage[row] for stage in images)
            yield Drawn(index, captions[index], tuple(known[index][1]), stages)


def noise_for(seed: int, indices: Sequence[int], width: int) -> Tensor:
    """(B, width) standard normal noise; row by row a function of (seed, index) alone."""
    if seed < 0:
        raise DataError(f"`seed` must be at least 0, got {seed}")
    rows = [
        np.random.default_rng([seed, index]).standard_normal(width, dtype=np.float32) for index in indices
    ]
    return torch.from_numpy(np.stack(rows))


@torch.inference_mode()
def _draw(model: SampledModel, ids: list[list[int]], indices: list[int], seed: int) -> list[Tensor]:
    device = next(model.generator.parameters()).device
    settings = model.generator.config
    lengths = torch.tensor([len(row) for row in ids], device=device)
    captions = torch.zeros(len(ids), int(lengths.max()), dtype=torch.int64, device=device)
    for row, words in enumerate(ids):
        captions[row, : len(words)] = torch.tensor(words)
    encoded, sentence = model.text_encoder(captions, lengths)
    mask = torch.arange(encoded.shape[1], device=device)[None, :] < lengths[:, None]
    noise = noise_for(seed, indices, settings.noise_dim + settings.condition_dim).to(device)
    output = model.generator(
        noise[:, : settings.noise_dim],
        sentence,
        encoded,
        mask,
        condition_noise=noise[:, settings.noise_dim :],
    )
    return [image.float().cpu() for image in output.images]


def _examples(vocabulary: Vocabulary) -> str:
    words = vocabulary.words[1:]
    return f"{len(words)} words, such as {', '.join(words[:: max(1, len(words) // 8)][:8])}"
