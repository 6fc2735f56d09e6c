"""Read and respond as the released DM-GAN arranges it: every intermediate result is a tensor.

Pixels are transposed to rows, scores and reads are two batched matrix products, and the response gate is a 1 x 1
convolution over the concatenation of image features and what was read. Masks are each image's own.
"""

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
    batch, channels, height, width = image_features.shape
    words = keys.shape[1]
    pixels = image_features.view(batch, channels, height * width).transpose(1, 2).contiguous()
    scores = torch.bmm(pixels, keys.transpose(1, 2)).view(batch * height * width, words)
    padding = ~word_mask[:, None].expand(batch, height * width, words).reshape(batch * height * width, words)
    weights = torch.softmax(scores.masked_fill(padding, -float("inf")), dim=1)
    weights = weights.view(batch, height * width, words).transpose(1, 2).contiguous()
    read = torch.bmm(values.transpose(1, 2), weights).view(batch, channels, height, width)
    gate = torch.sigmoid(
        F.conv2d(torch.cat([image_features, read], 1), gate_weight[:, :, None, None], gate_bias)
    )
    return read * gate + image_features * (1 - gate)
