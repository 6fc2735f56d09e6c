"""Memory writing: words enter the slots through a gate that looks at the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def write_gate(words: Tensor, image_summary: Tensor, gate_word: Tensor, gate_image: Tensor) -> Tensor:
    """``sigmoid(A w + B r̄)``: (B, L, 1), or (B, L, M) for a gate per memory channel."""
    return torch.sigmoid(F.linear(words, gate_word) + F.linear(image_summary, gate_image)[:, None, :])


def memory_write(
    words: Tensor,  # (B, L, E)
    image_summary: Tensor,  # (B, C)
    word_weight: Tensor,  # (M, E)
    word_bias: Tensor,  # (M,)
    image_weight: Tensor,  # (M, C)
    image_bias: Tensor,  # (M,)
    gate_word: Tensor | None = None,  # (1, E) or (M, E)
    gate_image: Tensor | None = None,  # (1, C) or (M, C)
    word_mask: Tensor | None = None,  # (B, L) bool
) -> Tensor:  # (B, L, M)
    """``m = relu(M_w w) g + relu(M_r r̄) (1 - g)``; ungated, ``m = relu(M_w w)``. Padding counts as zeros."""
    if word_mask is not None:
        # Before anything is computed from them: a NaN in padding would reach the weights' gradients.
        words = words.masked_fill(~word_mask[:, :, None], 0.0)
    from_words = torch.relu(F.linear(words, word_weight, word_bias))
    if gate_word is None or gate_image is None:
        return from_words
    from_image = torch.relu(F.linear(image_summary, image_weight, image_bias))[:, None, :]
    gate = write_gate(words, image_summary, gate_word, gate_image)
    return from_words * gate + from_image * (1 - gate)
