"""One discriminator an image size: is this image real, and does it fit the sentence?

Axis letters: B images, P pairs of image and sentence, E sentence width, F = 8 * width feature channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.config import Config, DiscriminatorConfig
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.spectral_norm import SpectralConv2d

SLOPE = 0.2  # of every LeakyReLU


def _convolution(in_channels: int, out_channels: int, kernel: int, stride: int, spectral: bool) -> nn.Conv2d:
    kind = SpectralConv2d if spectral else nn.Conv2d
    return kind(in_channels, out_channels, kernel, stride=stride, padding=1)


def channel_plan(size: int, width: int) -> tuple[list[int], list[int]]:
    """Channels after each halving convolution and after each 3x3 convolution that leads back to 8 * width.

    The channels double with each halving until the image is 4x4 pixels:

    >>> channel_plan(256, 32)
    ([32, 64, 128, 256, 512, 1024], [512, 256])
    >>> channel_plan(64, 32)
    ([32, 64, 128, 256], [])
    >>> channel_plan(16, 32)
    ([32, 64], [256])
    """
    if size < 8 or size & (size - 1):
        raise ConfigError(f"`size` of a discriminator must be a power of two of at least 8, got {size}")
    halvings = size.bit_length() - 3
    down = [width * 2**step for step in range(halvings)]
    if halvings < 4:  # smaller than the paper's first image: one step up to 8 * width
        return down, [8 * width]
    return down, [width * 2**step for step in reversed(range(3, halvings - 1))]


class Discriminator(nn.Module):
    """Convolutions to (8 * width, 4, 4), then one head for the image and one for image and sentence.

    Spectral norm on every convolution but the two ``outlogits``; no BatchNorm.
    """

    def __init__(self, size: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.size = size
        features, spectral = 8 * config.width, config.spectral_norm
        down, level = channel_plan(size, config.width)
        steps = [(channels, 4, 2) for channels in down] + [(channels, 3, 1) for channels in level]
        inputs = [3, *(channels for channels, _, _ in steps[:-1])]
        self.convolutions = nn.ModuleList(
            _convolution(before, channels, kernel, stride, spectral)
            for before, (channels, kernel, stride) in zip(inputs, steps, strict=True)
        )
        self.joint = _convolution(features + config.word_dim, features, 3, 1, spectral)
        self.conditional = nn.Conv2d(features, 1, 4, stride=4)
        self.unconditional = nn.Conv2d(features, 1, 4, stride=4)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] → (B, F, 4, 4)."""
        if images.ndim != 4 or images.shape[1:] != (3, self.size, self.size):
            raise ValueError(
                f"`images` must be (B, 3, {self.size}, {self.size}) for the {self.size}-pixel discriminator, "
                f"got {tuple(images.shape)}"
            )
        for convolution in self.convolutions:
            images = F.leaky_relu(convolution(images), SLOPE)
        return images

    def heads(self, features: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, 4, 4) and (B, E) → conditional and unconditional logits, (B,) each."""
        return self.conditional_logits(features, sentence), self.unconditional_logits(features)

    def conditional_logits(self, features: Tensor, sentence: Tensor) -> Tensor:
        """(P, F, 4, 4) and (P, E) → (P,): does image p fit sentence p?"""
        tiled = sentence[:, :, None, None].expand(-1, -1, *features.shape[2:])
        joint = F.leaky_relu(self.joint(torch.cat([features, tiled.to(features.dtype)], 1)), SLOPE)
        return self.conditional(joint).flatten()

    def unconditional_logits(self, features: Tensor) -> Tensor:
        """(B, F, 4, 4) → (B,): is the image real?"""
        return self.unconditional(features).flatten()

    def forward(
        self, images: Tensor, sentence: Tensor, image_index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``images`` (B, 3, S, S) with ``sentence`` (B, E) → conditional and unconditional logits, (B,) each.

        With ``image_index`` (P,) int64, pair p is image ``image_index[p]`` with ``sentence[p]`` of (P, E),
        and the conditional logits are (P,): real, fake and wrongly paired images take one forward pass
        (which distributed training needs), and each image's features are computed once. See
        :func:`reference_models.dmgan.losses.discriminator_logits`.
        """
        features = self.features(images)
        paired = features if image_index is None else features[image_index]
        return self.conditional_logits(paired, sentence), self.unconditional_logits(features)


def build_discriminators(config: Config) -> nn.ModuleList:
    """One discriminator for each size that the generator draws, lowest first."""
    return nn.ModuleList(Discriminator(size, config.discriminator) for size in config.generator.sizes)
