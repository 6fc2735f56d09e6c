"""Captions in, images out: load a trained model and draw with it.

Axis letters: B captions of a batch, Z noise, S pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from memgan import fold_batchnorm
from reference_models.dmgan.config import Config
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import ConfigError, DataError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.weights import (
    load_generator,
    load_text_encoder,
    model_folder,
    read_config,
)

SHIPPED = Path(__file__).parent / "weights" / "birds_demo"
Precision = Literal["float32", "bfloat16"]
PRECISIONS: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class SampledModel:
    """What drawing needs, frozen and in eval mode; :func:`fastest` made the generator of a loaded one."""

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
    """The averaged generator, in the form that draws fastest, and its text encoder.

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
    folder = model_folder(folder)
    config = read_config(folder)
    text, vocabulary = load_text_encoder(folder, config)
    generator = fastest(load_generator(folder, config)).to(device)
    return SampledModel(generator, text.to(device), vocabulary, config)


def fastest(generator: Generator) -> Generator:
    """A frozen copy that draws the same images to rounding: BatchNorm folded into weights, channels_last."""
    return fold_batchnorm(generator).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def drawing_in(precision: Precision, device: torch.device | str) -> AbstractContextManager[None]:
    """Where a generator's call computes in ``precision``: float32 as it is, bfloat16 under autocast.

    Raises:
        ConfigError: another precision.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"`precision` must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    dtype = PRECISIONS[precision]
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32)


def generate(
    model: SampledModel,
    captions: Sequence[str],
    *,
    seed: int = 0,
    batch_size: int = 16,
    precision: Precision = "float32",
) -> Iterator[Drawn]:
    """Draw every caption once; results come as batches finish, captions of like length together.

    The noise of caption ``i`` depends on (seed, i) alone, so neither the batch size nor the other captions
    change its image. ``precision`` "bfloat16" draws about twice as fast where the processor multiplies in it;
    images then differ in details (by less, over many, than those of another seed: docs/speed.md).

    Raises:
        DataError: a caption is empty or holds no word that the model knows.
        ConfigError: ``precision`` is neither.
    """
    if batch_size < 1:
        raise DataError(f"`batch_size` must be at least 1, got {batch_size}")
    drawing_in(precision, "cpu")
    known = [model.vocabulary.encode_reporting(caption) for caption in captions]
    for caption, (ids, _) in zip(captions, known):
        if not ids:
            told = "is empty" if not caption.strip() else "has no word that the model knows"
            raise DataError(f"the caption {caption!r} {told}; it knows {_examples(model.vocabulary)}")
    order = sorted(range(len(captions)), key=lambda index: len(known[index][0]))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        images = _draw(model, [known[index][0] for index in chosen], chosen, seed, precision)
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
def _draw(
    model: SampledModel, ids: list[list[int]], indices: list[int], seed: int, precision: Precision
) -> list[Tensor]:
    device = next(model.generator.parameters()).device
    settings = model.generator.config
    lengths = torch.tensor([len(row) for row in ids], device=device)
    captions = torch.zeros(len(ids), int(lengths.max()), dtype=torch.int64, device=device)
    for row, words in enumerate(ids):
        captions[row, : len(words)] = torch.tensor(words)
    encoded, sentence = model.text_encoder(captions, lengths)
    mask = torch.arange(encoded.shape[1], device=device)[None, :] < lengths[:, None]
    noise = noise_for(seed, indices, settings.noise_dim + settings.condition_dim).to(device)
    with drawing_in(precision, device):
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
