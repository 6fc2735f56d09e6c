"""What every metric does to its input first: a finite float64 tensor of the right rank, or an error."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reference_models.dmgan.errors import DataError

Array = Tensor | np.ndarray


def as_float64(values: Array, name: str, axes: str) -> Tensor:
    """``values`` as a float64 tensor on its own device; ``axes`` such as ``"(I, F)"`` gives the rank.

    Raises:
        DataError: another rank, or a NaN or infinity (it would spread silently through every mean).
    """
    tensor = torch.as_tensor(values).detach().to(torch.float64)
    rank = axes.count(",") + 1
    if tensor.ndim != rank:
        raise DataError(f"`{name}` must be {axes}, got {tensor.ndim} axes {tuple(tensor.shape)}")
    if not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise DataError(f"`{name}` must be finite, got {bad} values that are NaN or infinite")
    return tensor


def same_width(first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Both sets must have the same number of features."""
    if first.shape[1] != second.shape[1]:
        raise DataError(
            f"`{names[0]}` and `{names[1]}` must have as many features as each other, "
            f"got {first.shape[1]} and {second.shape[1]}"
        )
