r"""Kernel distance (KID): the unbiased squared MMD with the kernel (x·y / F + 1)³, over seeded subsets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.metrics.arrays import Array, as_float64, same_width


class KernelDistance(NamedTuple):
    """Mean and population standard deviation over the subsets; may be a little below 0 (it is unbiased)."""

    mean: float
    std: float


def kernel_distance(
    real: Array,
    fake: Array,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    degree: int = 3,
    seed: int = 0,
) -> KernelDistance:
    """KID of features (I, F) and (J, F); ``subset_size`` is at most the smaller set.

    >>> kernel_distance(torch.zeros(4, 2), torch.zeros(5, 2), subset_size=4, subsets=2).mean
    0.0
    """
    first, second = as_float64(real, "real", "(I, F)"), as_float64(fake, "fake", "(I, F)")
    same_width(first, second, ("real", "fake"))
    smaller = min(len(first), len(second))
    if not 2 <= subset_size <= smaller:
        raise DataError(f"`subset_size` must be from 2 to the smaller set's {smaller}, got {subset_size}")
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        x = first[torch.from_numpy(rng.permutation(len(first))[:subset_size])]
        y = second[torch.from_numpy(rng.permutation(len(second))[:subset_size])]
        values.append(_unbiased_mmd(x, y, degree))
    scores = torch.stack(values)
    return KernelDistance(float(scores.mean()), float(scores.std(correction=0)))


def _unbiased_mmd(x: Tensor, y: Tensor, degree: int) -> Tensor:
    width, count = x.shape[1], len(x)
    xx, yy, xy = (((a @ b.T) / width + 1) ** degree for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (count * (count - 1))
    return within - 2 * xy.mean()
