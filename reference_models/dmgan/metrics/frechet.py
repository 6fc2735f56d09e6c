r"""Fréchet distance of two Gaussians fitted to features: FID when the features are Inception's.

.. math:: d^2 = \lVert \mu_1 - \mu_2 \rVert^2 + \operatorname{tr}(S_1 + S_2 - 2 (S_1 S_2)^{1/2})

The trace of the root needs no general matrix square root: S₁S₂ has the eigenvalues of the symmetric
S₁^½ S₂ S₁^½, so two symmetric eigen-decompositions do, never give a complex number, and take singular
covariances (fewer images than features) as they are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.metrics.arrays import Array, as_float64, same_width


class FeatureMoments:
    """Count, mean and scatter of features, batch by batch, in float64.

    Merging is Chan's pairwise update of centred sums, so a large common offset costs no digits.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64)
        self.scatter = torch.zeros(width, width, dtype=torch.float64)  # sum of (x - mean)(x - mean)^T

    def update(self, features: Array) -> FeatureMoments:
        """Add a batch (I, F); I = 0 changes nothing."""
        batch = as_float64(features, "features", "(I, F)").cpu()
        if batch.shape[1] != len(self.mean):
            raise DataError(f"`features` must be (I, {len(self.mean)}), got {tuple(batch.shape)}")
        if len(batch):
            centred = batch - batch.mean(0)
            self._add(len(batch), batch.mean(0), centred.T @ centred)
        return self

    def merge(self, other: FeatureMoments) -> FeatureMoments:
        """Add everything that ``other`` has seen."""
        if other.count:
            self._add(other.count, other.mean, other.scatter)
        return self

    def all_reduce(self) -> FeatureMoments:
        """Every rank ends with the moments of all ranks; without torch.distributed nothing happens."""
        if dist.is_available() and dist.is_initialized():
            states: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(states, (self.count, self.mean, self.scatter))
            self.__init__(len(self.mean))  # type: ignore[misc]
            for state in states:  # rank order, so that all ranks round alike
                if state[0]:
                    self._add(*state)
        return self

    def covariance(self) -> Tensor:
        """(F, F), with n - 1 below the line, as every FID implementation has it."""
        if self.count < 2:
            raise DataError(f"a covariance needs at least 2 images, got {self.count}")
        return self.scatter / (self.count - 1)

    def _add(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        delta = mean - self.mean
        self.scatter = self.scatter + scatter + torch.outer(delta, delta) * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total


def frechet_distance(real: Array | FeatureMoments, fake: Array | FeatureMoments) -> float:
    """Squared Fréchet distance (what "FID" means) of two sets of features (I, F) or their moments.

    >>> frechet_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [5.0]]))
    9.0
    """
    first = real if isinstance(real, FeatureMoments) else _moments(real, "real")
    second = fake if isinstance(fake, FeatureMoments) else _moments(fake, "fake")
    same_width(first.mean[None], second.mean[None], ("real", "fake"))
    covariance1, covariance2 = first.covariance(), second.covariance()
    values, vectors = torch.linalg.eigh(covariance1)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root @ covariance2 @ root
    # eigvalsh reads one triangle: symmetrise first, or rounding in the other is thrown away.
    trace_root = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    means = (first.mean - second.mean).square().sum()
    distance = means + covariance1.trace() + covariance2.trace() - 2 * trace_root
    return max(float(distance), 0.0)  # rounding can leave -1e-12 for equal sets


def _moments(features: Array, name: str) -> FeatureMoments:
    values = as_float64(features, name, "(I, F)")
    return FeatureMoments(values.shape[1]).update(values)
