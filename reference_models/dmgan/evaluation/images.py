"""Pixels as the evaluation networks see them: one path for real and generated images.

An image becomes 8-bit at its own size (``round`` to nearest, or ``truncate`` as the release saves PNGs), is
averaged over areas down to 64 x 64, becomes 8-bit again, and is scaled to [-1, 1]. Real images are drawn at
the generator's largest size and take the same path; at 64 pixels, the demo's size, nothing but the rounding
is left.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reference_models.dmgan.errors import DataError

Rounding = Literal["round", "truncate"]


def to_uint8(images: Tensor, rounding: Rounding = "round") -> Tensor:
    """Float (B, 3, S, S) in [-1, 1] → uint8, the same shape; what is outside is clipped."""
    scaled = (images.float() + 1) * 127.5
    scaled = scaled.round() if rounding == "round" else scaled.floor()
    return scaled.clamp(0, 255).to(torch.uint8)


def reduce_to(images: Tensor, size: int) -> Tensor:
    """uint8 (B, 3, S, S) → uint8 (B, 3, size, size) by area averaging; S smaller than ``size`` is refused."""
    side = images.shape[-1]
    if images.shape[-2] != side or side < size:
        raise DataError(f"images must be square and at least {size} pixels, got {tuple(images.shape[-2:])}")
    if side == size:
        return images
    if side % size == 0:
        smaller = F.avg_pool2d(images.float(), side // size)
    else:
        smaller = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    return smaller.round().clamp(0, 255).to(torch.uint8)


def network_input(images: Tensor | np.ndarray) -> Tensor:
    """uint8 (B, 3, S, S), or (B, S, S, 3) from numpy → float32 (B, 3, S, S) in [-1, 1]."""
    if isinstance(images, np.ndarray):
        writable = images if images.flags.writeable else images.copy()  # torch warns of read-only memory
        tensor = torch.from_numpy(writable).permute(0, 3, 1, 2)
    else:
        tensor = images
    if tensor.dtype != torch.uint8 or tensor.ndim != 4:
        raise DataError(f"`images` must be uint8 with 4 axes, got {tensor.dtype} {tuple(tensor.shape)}")
    return tensor.to(torch.float32) / 127.5 - 1.0
