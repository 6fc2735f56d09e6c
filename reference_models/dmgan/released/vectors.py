"""Weights as a function of (seed, key, shape), so that stored outputs need no stored weights."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def deterministic(key: str, shape: Sequence[int], seed: int = 0) -> Tensor:
    """The float32 entry called ``key``: the same numbers on every machine."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64, device="cpu")  # even where networks are made on "meta"
    x = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(tuple(shape))
    if key.endswith("running_var"):
        x = 0.5 + np.abs(x) * 0.5
    elif key.endswith("running_mean"):
        x = 0.1 * x
    elif key.endswith(("weight_u", "weight_v")):
        x = x / np.linalg.norm(x)
    elif len(shape) == 1:
        x = 1 + 0.1 * x if key.endswith("weight") else 0.1 * x
    else:
        x = x / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(x, dtype=np.float32))


def deterministic_state(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, Tensor]:
    """A whole released-layout state dict of the given ``shapes``."""
    return {key: deterministic(key, shape, seed) for key, shape in shapes.items()}
