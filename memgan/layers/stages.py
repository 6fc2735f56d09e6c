"""The generator's stages: a first image's features, and a refinement that doubles them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from memgan.layers._hooks import hooked, replaced
from memgan.layers.blocks import GLU, ResidualBlock, UpsampleBlock
from memgan.layers.memory import DynamicMemory
from memgan.ops._checks import check_shape
from memgan.types import ReadAndAttention


class InitialStage(nn.Module):
    """Condition and noise → features ``(B, C, size, size)``.

    A linear layer to 4x4, then up-sampling blocks that halve the channels, so that ``size = 4 * 2**k`` starts
    from ``C * 2**k`` channels: the release's 16C at 64 pixels.

    Source: the release's first stage.

    Args:
        condition_dim: c of the condition; a class embedding or a pooled sentence, too.
        noise_dim: Z of the noise.
        channels: C of the result.
        size: of the result, in pixels.

    Raises:
        ValueError: ``size`` is not 8, 16, 32, 64, ...

    >>> InitialStage(5, 7, channels=4, size=16)(torch.zeros(2, 5), torch.zeros(2, 7)).shape
    torch.Size([2, 4, 16, 16])
    """

    norms_follow: ClassVar = {"linear": "norm"}

    def __init__(self, condition_dim: int, noise_dim: int, channels: int, *, size: int = 64) -> None:
        super().__init__()
        doublings = (size // 4).bit_length() - 1
        if size < 8 or size != 4 * 2**doublings:
            raise ValueError(f"`size` must be 4 * 2**k with k of at least 1, got {size}")
        self.condition_dim = condition_dim
        self.noise_dim = noise_dim
        self.first_channels = channels * 2**doublings
        self.linear = nn.Linear(condition_dim + noise_dim, 2 * self.first_channels * 16, bias=False)
        self.norm = nn.BatchNorm1d(2 * self.first_channels * 16)
        self.glu = GLU()
        self.upsample = nn.Sequential(
            *(UpsampleBlock(channels * 2 ** (k + 1), channels * 2**k) for k in reversed(range(doublings)))
        )

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """``condition`` (B, c), ``noise`` (B, Z) → (B, C, size, size).

        Raises:
            ShapeError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        check_shape("InitialStage", "condition", condition, (None, self.condition_dim), "(B, c)")
        check_shape("InitialStage", "noise", noise, (condition.shape[0], self.noise_dim), "(B, Z)")
        flat = self.glu(self.norm(self.linear(torch.cat([condition, noise], dim=1))))
        features: Tensor = self.upsample(flat.view(-1, self.first_channels, 4, 4))
        return features


class RefinementStage(nn.Module):
    """Memory, residual blocks, and a doubling: features (B, C, H, W) → (B, C, 2H, 2W).

    Source: section 3 of the paper; residual blocks and doubling are the release's.

    Args:
        image_channels: C of the features, in and out.
        word_dim: E of the words.
        memory: any module with :class:`memgan.DynamicMemory`'s call; None: a DynamicMemory with its defaults.
            A gated result fills the width 2C twice, as the release does; an ungated one (``memory.gated`` False)
            stands beside the features, [read, r].
        residual_blocks: 2 for CUB, 3 for COCO in the release.

    >>> features, attention = RefinementStage(4, 6)(torch.zeros(2, 4, 8, 8), torch.zeros(2, 5, 6))
    >>> features.shape, attention
    (torch.Size([2, 4, 16, 16]), None)
    """

    def __init__(
        self,
        image_channels: int,
        word_dim: int,
        *,
        memory: nn.Module | None = None,
        residual_blocks: int = 2,
    ) -> None:
        super().__init__()
        self.memory = DynamicMemory(image_channels, word_dim) if memory is None else memory
        self.residual = nn.Sequential(*(ResidualBlock(2 * image_channels) for _ in range(residual_blocks)))
        self.upsample = UpsampleBlock(2 * image_channels, image_channels)

    def forward(
        self,
        image_features: Tensor,
        words: Tensor,
        word_mask: Tensor | None = None,
        *,
        return_attention: bool = False,
    ) -> ReadAndAttention:
        """``image_features`` (B, C, H, W), ``words`` (B, L, E) → features (B, C, 2H, 2W), attention or None.

        Raises:
            ShapeError, DtypeError, DeviceError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        result, attention = self.memory(image_features, words, word_mask, return_attention=return_attention)
        gated = _is_gated(self.memory)
        if gated and self._takes_one_of_two_halves():
            features = self.residual[0](result, twice=True)
            for block in list(self.residual)[1:]:
                features = block(features)
        else:
            second = result if gated else image_features
            features = self.residual(torch.cat([result, second], dim=1))
        return self.upsample(features), attention

    def _takes_one_of_two_halves(self) -> bool:
        """Whether the first residual block is one of ours, called by nobody else: it adds its weight's halves."""
        residual = self.residual
        return (
            isinstance(residual, nn.Sequential)
            and not replaced(residual, nn.Sequential)
            and not hooked(residual)
            and len(residual) > 0
            and isinstance(residual[0], ResidualBlock)
            and not replaced(residual[0], ResidualBlock)
        )


def _is_gated(memory: nn.Module) -> bool:
    """Of a wrapper (DataParallel, DistributedDataParallel) that of what it wraps; a memory that says nothing is."""
    while not hasattr(memory, "gated") and isinstance(inner := getattr(memory, "module", None), nn.Module):
        memory = inner
    return bool(getattr(memory, "gated", True))
