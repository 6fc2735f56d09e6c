"""Read and respond with torch's own fused attention, and a gate behind it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def refine(
    image_features: Tensor,  # (B, C, H, W)
    keys: Tensor,  # (B, L, C)
    values: Tensor,  # (B, L, C)
    word_mask: Tensor,  # (B, L) bool
    gate_weight: Tensor,  # (1, 2C)
    gate_bias: Tensor,  # (1,)
) -> Tensor:  # (B, C, H, W)
    """The new features."""
    queries = image_features.flatten(2).transpose(1, 2)[:, None]
    read = F.scaled_dot_product_attention(
        queries, keys[:, None], values[:, None], attn_mask=word_mask[:, None, None], scale=1.0
    )
    read = read[:, 0].transpose(1, 2).reshape(image_features.shape)
    gate = torch.sigmoid(
        F.conv2d(torch.cat([image_features, read], 1), gate_weight[:, :, None, None], gate_bias)
    )
    return read * gate + image_features * (1 - gate)
