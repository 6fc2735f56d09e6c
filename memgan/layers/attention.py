"""AttnGAN's word attention: the baseline that the memory is compared with."""

from __future__ import annotations

from torch import Tensor, nn

from memgan.layers._hooks import must_be_called
from memgan.ops import memory_read
from memgan.ops._checks import check_floating_or_cast, check_shape, checked_mask
from memgan.types import ReadAndAttention


class WordAttention(nn.Module):
    """Words projected E → C serve as keys and values; every pixel reads them. No memory, no gates.

    Source: AttnGAN, section 3.1. It has :class:`memgan.DynamicMemory`'s call, so that
    :class:`memgan.RefinementStage` takes either.

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
        """``image_features`` (B, C, H, W), ``words`` (B, L, E) → what was read (B, C, H, W), attention or None.

        Raises:
            ShapeError, DtypeError, DeviceError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        op, channels, width = "WordAttention", self.projection.out_features, self.projection.in_features
        check_shape(op, "image_features", image_features, (None, channels, None, None), "(B, C, H, W)")
        check_shape(op, "words", words, (image_features.shape[0], None, width), "(B, L, E)")
        if not must_be_called(self.projection, bias=False):  # one of another kind may cast
            weight = self.projection.weight
            check_floating_or_cast(op, image_features=image_features, words=words, weight=weight)
        mask = checked_mask(op, word_mask, words.shape[0], words.shape[1], words.device)
        if mask is not None:  # before the projection: a NaN in padding would reach its weight's gradient
            words = words.masked_fill(~mask[:, :, None], 0.0)
        slots = self.projection(words)
        return memory_read(image_features, slots, slots, mask, return_attention=return_attention)
