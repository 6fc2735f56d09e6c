"""The embedded birds as evaluation sets: captions with their real images, and the stored reference.

The images of an evaluation are a split's first ones, number 0 onwards; those of the reference have numbers
from 1,000,000 on. So both show the same species, and no picture is in both.

Axis letters: I images, S pixels, A attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from reference_models.dmgan.data.birds.attributes import A
from reference_models.dmgan.data.birds.dataset import Birds, SpeciesScenes
from reference_models.dmgan.data.birds.render import VERSION, render
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.embedded import Captions
from reference_models.dmgan.evaluation.features import SceneNet
from reference_models.dmgan.evaluation.images import network_input, reduce_to
from reference_models.dmgan.evaluation.judge import SIZE
from reference_models.dmgan.evaluation.reference import Reference
from reference_models.dmgan.evaluation.store import SHIPPED

FIRST_OF_REFERENCE = 1_000_000
REFERENCE_COUNT = 50_000
CHUNK = 500
SPLITS = ("test", "validation")


def captions_of(split: str, count: int, *, seed: int = 0) -> Captions:
    """Caption 0 of the first ``count`` images of a split, what it says, and the truth about its bird."""
    if split not in SPLITS:
        raise DataError(f"`split` must be one of {', '.join(SPLITS)}, got {split!r}")
    birds = Birds(split, seed=seed, images=count, cached=False)
    said = [birds.caption(index, 0) for index in range(count)]
    mentioned = np.zeros((count, A), dtype=bool)
    for row, caption in enumerate(said):
        mentioned[row, list(caption.mentioned)] = True
    return Captions(
        texts=tuple(caption.text for caption in said),
        attributes=np.stack([birds.attributes(index) for index in range(count)]),
        mentioned=mentioned,
        species=np.array([birds.scenes.species_of(index) for index in range(count)]),
    )


def real_images(split: str, count: int, *, size: int = SIZE, seed: int = 0, workers: int = 0) -> np.ndarray:
    """Real images (I, 64, 64, 3) uint8 of :func:`captions_of`, drawn at ``size`` and reduced as generated
    ones are.

    Drawn once, then read from the data set's cache.
    """
    pictures = Birds(split, seed=seed, images=count, size=size, workers=workers)
    return reduced([pictures.image(index) for index in range(count)])


def reduced(pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Square uint8 pictures (S, S, 3) → (I, 64, 64, 3), by area as generated images are."""
    parts = []
    for start in range(0, len(pictures), CHUNK):
        rows = torch.from_numpy(np.stack(pictures[start : start + CHUNK]))
        small = reduce_to(rows.permute(0, 3, 1, 2), SIZE)
        parts.append(small.permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def reference_path(split: str, folder: Path = SHIPPED) -> Path:
    """Where the reference of a split is, without suffix."""
    return folder / f"reference_{split}"


def make_reference(
    split: str,
    network: SceneNet,
    *,
    count: int = REFERENCE_COUNT,
    sample: int = 10_000,
    seed: int = 0,
    workers: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Reference:
    """Draw ``count`` images of a split at 64 pixels and keep their moments and ``sample`` of their features.

    Images are not cached: 50,000 take about three minutes of one core to draw.
    """
    scenes = SpeciesScenes(split, seed)
    starts = range(FIRST_OF_REFERENCE, FIRST_OF_REFERENCE + count, CHUNK)
    draw = partial(_draw, scenes, FIRST_OF_REFERENCE + count)
    features = []

    def look(images: np.ndarray) -> None:
        features.append(network.features(network_input(images)))
        if len(features) % 20 == 0:
            say(f"reference {split}: {len(features) * CHUNK}/{count} images")

    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
            for images in executor.map(draw, starts):
                look(images)
    else:
        for start in starts:
            look(draw(start))
    facts = {
        "split": split,
        "data_seed": seed,
        "first": FIRST_OF_REFERENCE,
        "size": SIZE,
        "renderer_version": VERSION,
        "scene_sha256": network.sha256,
    }
    # Consecutive images take consecutive species: a beginning of them is a fair sample of the split.
    return Reference.of(torch.cat(features), facts, sample=sample)


def _draw(scenes: SpeciesScenes, stop: int, start: int) -> np.ndarray:
    return np.stack([render(scenes(index), SIZE) for index in range(start, min(start + CHUNK, stop))])
