"""AttnGAN's word attention: the baseline that the memory is compared with."""

from __future__ import annotations

from torch import Tensor, nn

from memgan.ops import memory_read
from memgan.types import ReadAndAttention


class WordAttention(nn.Module):
    """Words projected E → C serve as keys and values; every pixel reads them. No memory, no gates.

    Has :class:`memgan.DynamicMemory`'s call, so that :class:`memgan.RefinementStage` takes either.

    >>> import torch
    >>> read, attention = WordAttention(6, 8)(torch.zeros(2, 6, 4, 4), torch.zeros(2, 5, 8))
    >>> read.shape, attention
    (torch.Size([2, 6, 4, 4]), None)
    """

    gated = False

    def __init__(self, image_channels: int, word_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(word_dim, image_channels, bias=False)

    def forward(
        self,
        image_features: Tensor,
        words: Tensor,
        word_mask: Tensor | None = None,
        *,
        return_attention: bool = False,
    ) -> ReadAndAttention:
        """``image_features`` (B, C, H, W), ``words`` (B, L, E) → what was read (B, C, H, W), attention or None."""
        if word_mask is not None and not word_mask.is_floating_point():
            words = words.masked_fill((word_mask == 0)[:, :, None], 0.0)
        slots = self.projection(words)
        return memory_read(image_features, slots, slots, word_mask, return_attention=return_attention)
