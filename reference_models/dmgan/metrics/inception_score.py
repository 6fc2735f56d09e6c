r"""Inception Score of class probabilities: exp of the mutual information of image and class.

.. math:: \exp \mathbb{E}_x \operatorname{KL}(p(y | x) \,\|\, p(y))

per split, then the mean and the **population** standard deviation (ddof 0) over the splits, as the score has
been reported since 2016. A class that no image of a split takes has mean probability 0: its logarithm is
clamped, since 0 log 0 = 0 (torchmetrics gives NaN there).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.metrics.arrays import Array, as_float64

TINY = 1e-300


class InceptionScore(NamedTuple):
    """Mean and population standard deviation over the splits."""

    mean: float
    std: float


class SplitEntropies:
    """What a score needs of each split: count, sum of p, and sum of p log p. Image ``i`` is in a fixed split.

    The split of an image depends on its number alone, ``i * splits // total``, so ranks may take any share.
    """

    def __init__(self, classes: int, total: int, splits: int = 10) -> None:
        if not 1 <= splits <= total:
            raise DataError(f"`splits` must be from 1 to the {total} images, got {splits}")
        self.total, self.splits = total, splits
        self.counts = torch.zeros(splits, dtype=torch.float64)
        self.sums = torch.zeros(splits, classes, dtype=torch.float64)
        self.negative_entropies = torch.zeros(splits, dtype=torch.float64)

    def update(self, indices: Array, probabilities: Array) -> SplitEntropies:
        """Add images with numbers ``indices`` (I,) in [0, total) and class probabilities (I, K)."""
        values = as_float64(probabilities, "probabilities", "(I, K)").cpu()
        if bool((values < 0).any()) or not torch.allclose(
            values.sum(1), torch.ones((), dtype=torch.float64), atol=1e-3
        ):
            raise DataError("`probabilities` must be at least 0 and sum to 1 over the classes")
        split = torch.as_tensor(indices).cpu().long() * self.splits // self.total
        self.counts.index_add_(0, split, torch.ones(len(values), dtype=torch.float64))
        self.sums.index_add_(0, split, values)
        self.negative_entropies.index_add_(0, split, (values * values.clamp(min=TINY).log()).sum(1))
        return self

    def merge(self, other: SplitEntropies) -> SplitEntropies:
        """Add everything that ``other`` has seen."""
        self.counts += other.counts
        self.sums += other.sums
        self.negative_entropies += other.negative_entropies
        return self

    def all_reduce(self) -> SplitEntropies:
        """Every rank ends with the sums of all ranks; without torch.distributed nothing happens."""
        if dist.is_available() and dist.is_initialized():
            states: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(states, (self.counts, self.sums, self.negative_entropies))
            self.counts, self.sums, self.negative_entropies = (
                sum(parts[1:], parts[0].clone()) for parts in zip(*states)
            )
        return self

    def score(self) -> InceptionScore:
        """The score of what has been added; every split needs an image."""
        if bool((self.counts == 0).any()):
            empty = int((self.counts == 0).sum())
            raise DataError(f"{empty} of the {self.splits} splits have no image")
        mean = self.sums / self.counts[:, None]
        marginal = (mean * mean.clamp(min=TINY).log()).sum(1)
        scores = (self.negative_entropies / self.counts - marginal).exp()
        return InceptionScore(float(scores.mean()), float(scores.std(correction=0)))


def inception_score(probabilities: Array, splits: int = 10) -> InceptionScore:
    """(mean, std) of the score of class probabilities (I, K), in the order of the images.

    >>> inception_score(torch.eye(4).repeat(10, 1), splits=10)
    InceptionScore(mean=4.0, std=0.0)
    """
    values = as_float64(probabilities, "probabilities", "(I, K)")
    entropies = SplitEntropies(values.shape[1], len(values), splits)
    return entropies.update(torch.arange(len(values)), values).score()
