"""Ways to spoil an image: SceneNet learns to see them, and the calibration of the gate uses their like.

All take and return float images (B, 3, H, W) in [-1, 1]; a strength is in [0, 1], one per image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

KINDS = ("blur", "noise", "pattern", "contrast")


def blur(images: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of ``sigma`` pixels, borders reflected."""
    radius = max(1, math.ceil(3 * sigma))
    steps = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    padded = F.pad(images, (radius,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def pattern(images: Tensor, strength: Tensor, period: Tensor, phase: Tensor) -> Tensor:
    """Add a checkerboard-like wave, ``strength`` (B,) high and ``period`` (B,) pixels long.

    Transposed convolutions leave such grids.
    """
    height, width = images.shape[-2:]
    y = torch.arange(height, device=images.device, dtype=images.dtype)
    x = torch.arange(width, device=images.device, dtype=images.dtype)
    rows = torch.sin(2 * math.pi * y[None] / period[:, None] + phase[:, None])
    columns = torch.sin(2 * math.pi * x[None] / period[:, None] + phase[:, None])
    wave = rows[:, :, None] * columns[:, None, :]
    return (images + strength[:, None, None, None] * wave[:, None]).clamp(-1, 1)


def damage(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Spoil about half of the images, each in one way; returns them and the strengths (B, len(KINDS))."""
    count = len(images)
    strengths = torch.zeros(count, len(KINDS))
    kind = torch.randint(0, 2 * len(KINDS), (count,), generator=generator)  # above the kinds: left alone
    strength = torch.rand(count, generator=generator) * 0.9 + 0.1
    hit = kind < len(KINDS)
    strengths[hit, kind[hit]] = strength[hit]
    result = images.clone()
    for index in (kind == 0).nonzero().flatten().tolist():
        result[index : index + 1] = blur(images[index : index + 1], 0.3 + 1.7 * float(strength[index]))
    noisy = kind == 1
    noise = torch.randn(images[noisy].shape, generator=generator)
    result[noisy] = (images[noisy] + 0.4 * strength[noisy][:, None, None, None] * noise).clamp(-1, 1)
    wavy = kind == 2
    period = 2 + 6 * torch.rand(int(wavy.sum()), generator=generator)
    phase = 2 * math.pi * torch.rand(int(wavy.sum()), generator=generator)
    result[wavy] = pattern(images[wavy], 0.6 * strength[wavy], period, phase)
    flat = kind == 3
    centre = images[flat].mean((1, 2, 3), keepdim=True)
    result[flat] = centre + (images[flat] - centre) * (1 - 0.7 * strength[flat][:, None, None, None])
    return result, strengths
