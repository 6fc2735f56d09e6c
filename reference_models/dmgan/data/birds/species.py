"""Two hundred species: attribute tuples that differ from each other in at least four places."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from reference_models.dmgan.data.birds.attributes import SIZES
from reference_models.dmgan.errors import DataError

COUNT = 200
MINIMUM_DIFFERENCES = 4
SPLITS = {"train": range(140), "validation": range(140, 150), "test": range(150, 200)}


@lru_cache(maxsize=8)
def species(seed: int = 0) -> np.ndarray:
    """(200, A) int64, read-only: the attribute values of each species.

    Every value of an attribute is used about equally often: each column is a shuffled repetition of its values,
    drawn again where two species would be too much alike.
    """
    rng = np.random.default_rng([seed, 20_031])
    columns = [rng.permutation(np.arange(COUNT) % size) for size in SIZES]
    table = np.stack(columns, axis=1).astype(np.int64)
    for row in range(COUNT):
        while row and _nearest(table[:row], table[row]) < MINIMUM_DIFFERENCES:
            # Exchange one value with a later species: the columns keep their even counts.
            column = rng.integers(len(SIZES))
            other = rng.integers(row, COUNT)
            table[[row, other], column] = table[[other, row], column]
    table.setflags(write=False)
    return table


def _nearest(others: np.ndarray, one: np.ndarray) -> int:
    return int((others != one).sum(1).min())


def split_species(split: str) -> np.ndarray:
    """The species' numbers of ``split``: train (140), validation (10) or test (50 that no training sees)."""
    if split not in SPLITS:
        raise DataError(f"`split` must be one of {', '.join(SPLITS)}, got {split!r}")
    return np.array(SPLITS[split])
