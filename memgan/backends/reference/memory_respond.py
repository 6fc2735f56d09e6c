"""Response: a gate decides how much of what was read replaces the pixel's feature."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def response_gate(image_features: Tensor, read: Tensor, gate_weight: Tensor, gate_bias: Tensor) -> Tensor:
    """``sigmoid(W [r, o] + b)``: (B, 1, H, W), or (B, C, H, W) for a gate per channel."""
    channels = image_features.shape[1]
    if 0 in image_features.shape[2:]:  # no pixels: torch's convolution refuses them
        both = torch.cat([image_features, read], dim=1)
        return torch.sigmoid(torch.einsum("gc,bchw->bghw", gate_weight, both) + gate_bias[:, None, None])
    # Two products instead of one on a concatenation: the same sum without the copy of r and o.
    by_image = F.conv2d(image_features, gate_weight[:, :channels, None, None], gate_bias)
    return torch.sigmoid(by_image + F.conv2d(read, gate_weight[:, channels:, None, None]))


def memory_respond(
    image_features: Tensor,  # (B, C, H, W)
    read: Tensor,  # (B, C, H, W)
    gate_weight: Tensor,  # (1, 2C) or (C, 2C)
    gate_bias: Tensor,  # (1,) or (C,)
) -> Tensor:  # (B, C, H, W)
    """``r_new = g o + (1 - g) r``."""
    gate = response_gate(image_features, read, gate_weight, gate_bias)
    return read * gate + image_features * (1 - gate)
