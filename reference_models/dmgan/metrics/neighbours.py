"""Precision and recall by k-nearest-neighbour balls (Kynkäänniemi et al., 2019), block by block.

A point is inside a set when it lies in the ball around at least one of the set's points, the ball's radius
being the distance to that point's k-th nearest other point. Precision: generated images inside the real set.
Recall: real images inside the generated set.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.metrics.arrays import Array, as_float64, same_width


class PrecisionRecall(NamedTuple):
    """Both are fractions from 0 to 1."""

    precision: float
    recall: float


def precision_recall(real: Array, fake: Array, *, k: int = 3, block: int = 2000) -> PrecisionRecall:
    """Of features (I, F) and (J, F); both figures depend on the counts, so compare equal counts only.

    >>> precision_recall(torch.arange(8.0)[:, None], torch.tensor([[1.5], [2.5], [90.0], [91.0]]), k=1)
    PrecisionRecall(precision=0.5, recall=0.375)
    """
    first, second = as_float64(real, "real", "(I, F)"), as_float64(fake, "fake", "(I, F)")
    same_width(first, second, ("real", "fake"))
    smaller = min(len(first), len(second))
    if not 1 <= k < smaller:
        raise DataError(f"`k` must be from 1 to one less than the smaller set's {smaller}, got {k}")
    return PrecisionRecall(
        _inside(second, first, _radii(first, k, block), block),
        _inside(first, second, _radii(second, k, block), block),
    )


def _radii(points: Tensor, k: int, block: int) -> Tensor:
    """(I,) squared distance from each point to its ``k``-th nearest other point."""
    radii = []
    for start in range(0, len(points), block):
        distances = _squared_distances(points[start : start + block], points)
        rows = torch.arange(len(distances))
        distances[rows, rows + start] = torch.inf  # a point is no neighbour of itself
        radii.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(radii)


def _inside(points: Tensor, centres: Tensor, radii: Tensor, block: int) -> float:
    hits = 0
    for start in range(0, len(points), block):
        distances = _squared_distances(points[start : start + block], centres)
        hits += int((distances <= radii).any(1).sum())
    return hits / len(points)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    # Expanded, in float64: a matrix product is some 20 times faster than differences.
    squares = x.square().sum(1)[:, None] + y.square().sum(1)[None, :]
    return torch.addmm(squares, x, y.T, alpha=-2).clamp_(min=0)
