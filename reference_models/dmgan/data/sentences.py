"""What every data set of files does with its captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference_models.dmgan.data.vocabulary import Vocabulary


def choose(captions: Sequence[str], rng: np.random.Generator, *, train: bool) -> str:
    """One of an image's captions: any in training, else the first."""
    return captions[int(rng.integers(len(captions))) if train else 0]


def shorten(ids: Sequence[int], most: int, rng: np.random.Generator) -> tuple[int, ...]:
    """At most ``most`` ids; a longer caption is sub-sampled at random, its order kept."""
    if len(ids) <= most:
        return tuple(ids)
    kept = np.sort(rng.permutation(len(ids))[:most])
    return tuple(ids[index] for index in kept)


def known_captions(captions: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """Those that hold a known word: the others cannot be encoded, and are left out as the release does."""
    return [text for text in captions if vocabulary.encode(text)]
