"""Captions → pictures with everything that the generator can tell of how it drew them.

Axis letters: B drawings of one caption, L words, S image size, H W the feature size of a refinement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.generator import Inspection
from reference_models.dmgan.report.data import Drawing, Picture, Reading
from reference_models.dmgan.sampling import SampledModel, noise_for


def explain(
    model: SampledModel, captions: Sequence[str], *, drawings: int = 4, seed: int = 0
) -> Iterator[Picture]:
    """One :class:`Picture` a caption. Drawing ``k`` has the same noise for every caption.

    Raises:
        DataError: a caption without any word that the model knows.
    """
    for caption in captions:
        ids, unknown = model.vocabulary.encode_reporting(caption)
        output = inspect(model, caption, drawings=drawings, seed=seed)
        words = tuple(model.vocabulary.words[index] for index in ids)
        yield Picture(caption, words, _drawings(output), tuple(dict.fromkeys(unknown)))


def inspect(model: SampledModel, caption: str, *, drawings: int = 1, seed: int = 0) -> Inspection:
    """The generator's :meth:`inspect` of ``drawings`` copies of one caption, each with noise of its own."""
    ids = model.vocabulary.encode(caption)
    if not ids:
        raise DataError(f"the caption {caption!r} has no word that the model knows")
    device = next(model.generator.parameters()).device
    config = model.generator.config
    noise = noise_for(seed, range(drawings), config.noise_dim + config.condition_dim).to(device)
    captions = torch.tensor([ids], device=device)
    with torch.inference_mode():
        words, sentence = model.text_encoder(captions, torch.tensor([len(ids)], device=device))
        return model.generator.inspect(
            noise[:, : config.noise_dim],
            sentence.expand(drawings, -1),
            words.expand(drawings, -1, -1),
            torch.ones(drawings, len(ids), dtype=torch.bool, device=device),
            condition_noise=noise[:, config.noise_dim :],
        )


def pixels(images: Tensor) -> np.ndarray:
    """(B, 3, S, S) in [-1, 1] → (B, S, S, 3) uint8, rounded."""
    scaled = ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _drawings(output: Inspection) -> tuple[Drawing, ...]:
    images = [pixels(stage) for stage in output.images]
    return tuple(
        Drawing(
            tuple(stage[row] for stage in images),
            tuple(
                Reading(
                    _numpy(attention[row]),
                    None if write is None else _numpy(write[row]),
                    None if response is None else _numpy(response[row, 0]),
                )
                for attention, write, response in zip(
                    output.attention, output.write_gate, output.response_gate
                )
            ),
        )
        for row in range(len(images[0]))
    )


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
