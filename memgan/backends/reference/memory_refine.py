"""Read, then respond: what a fused kernel does in one pass over the pixels."""

from __future__ import annotations

from torch import Tensor

from memgan.backends.reference.memory_read import memory_read
from memgan.backends.reference.memory_respond import memory_respond


def memory_refine(
    image_features: Tensor,  # (B, C, H, W)
    keys: Tensor,  # (B, L, C)
    values: Tensor,  # (B, L, C)
    word_mask: Tensor | None,  # (B, L) bool
    gate_weight: Tensor,  # (1, 2C) or (C, 2C)
    gate_bias: Tensor,  # (1,) or (C,)
    *,
    scale: float = 1.0,
    return_attention: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """:func:`memory_read` followed by :func:`memory_respond`."""
    read, attention = memory_read(
        image_features, keys, values, word_mask, scale=scale, return_attention=return_attention
    )
    return memory_respond(image_features, read, gate_weight, gate_bias), attention
