"""Image encoders of DAMSM: regions that words are compared with, and one code an image.

``inception`` is the paper's: a frozen Inception-v3 and two trained projections. ``small`` trains from nothing
on the embedded data.

Axis letters: B images, S pixels, E word width, h = w regions a side.
"""

from __future__ import annotations

import logging

from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.config import Config
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.inception import CODE_CHANNELS, REGION_CHANNELS, InceptionTrunk, load_inception

LOG = logging.getLogger(__name__)


class InceptionImageEncoder(nn.Module):
    """Inception-v3, frozen with its BatchNorm statistics, and the two projections that DAMSM trains."""

    def __init__(self, word_dim: int) -> None:
        super().__init__()
        self.trunk = InceptionTrunk()
        self.regions = nn.Conv2d(REGION_CHANNELS, word_dim, 1, bias=False)
        self.code = nn.Linear(CODE_CHANNELS, word_dim)
        nn.init.uniform_(self.regions.weight, -0.1, 0.1)
        nn.init.uniform_(self.code.weight, -0.1, 0.1)
        self.trunk.requires_grad_(False)
        self.trunk.eval()

    def train(self, mode: bool = True) -> InceptionImageEncoder:
        """Training mode for the projections only: the trunk's statistics stay as published."""
        super().train(mode)
        self.trunk.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [-1, 1] → regions (B, E, 17, 17), image code (B, E); any S, resized to 299."""
        images = F.interpolate(images, (299, 299), mode="bilinear", align_corners=True)
        regions, pooled = self.trunk(images)
        return self.regions(regions), self.code(pooled)


class _Step(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.step = _Step(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.step(x)


class SmallImageEncoder(nn.Module):
    """A CNN of about a million parameters (width 32) with a region for every 8x8 pixels.

    Images of another size are resized to ``image_size`` (antialiased, like the data's own pyramid). The first
    step folds 2x2 pixels into channels, so that it sees every pixel at a quarter of the cost.
    """

    def __init__(self, word_dim: int, *, width: int = 32, image_size: int = 64) -> None:
        super().__init__()
        self.image_size = image_size
        self.body = nn.Sequential(
            nn.PixelUnshuffle(2),
            _Step(12, 2 * width),
            _Step(2 * width, 4 * width, stride=2),
            _Residual(4 * width),
            _Step(4 * width, 8 * width, stride=2),
            _Residual(8 * width),
        )
        self.regions = nn.Conv2d(8 * width, word_dim, 1, bias=False)
        self.code = nn.Linear(8 * width, word_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [-1, 1] → regions (B, E, image_size/8, image_size/8), image code (B, E)."""
        if images.shape[-1] != self.image_size:
            size = (self.image_size, self.image_size)
            smaller = images.shape[-1] > self.image_size
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=smaller)
        features = self.body(images)
        # The mean over pixels by way of (B, h, w, C): so its gradient lies as channels_last, as that of the regions.
        return self.regions(features), self.code(features.permute(0, 2, 3, 1).mean((1, 2)))


def build_image_encoder(config: Config) -> nn.Module:
    """The image encoder that ``config.image_encoder`` asks for, as wide as ``config.text.word_dim``.

    ``inception`` without ``weights`` is built with random weights (for a checkpoint to fill); with them the
    file's sha256 is logged, at INFO, which Python does not show unless logging is set up.
    """
    options, word_dim = config.image_encoder, config.text.word_dim
    if options.kind == "small":
        if options.image_size % 8 or options.image_size < 16:
            raise ConfigError(
                f"`image_encoder.image_size` must be a multiple of 8 from 16 on, got {options.image_size}"
            )
        return SmallImageEncoder(word_dim, width=options.width, image_size=options.image_size)
    if options.kind != "inception":
        raise ConfigError(f"`image_encoder.kind` must be small or inception, got {options.kind!r}")
    encoder = InceptionImageEncoder(word_dim)
    if options.weights:
        digest = load_inception(encoder.trunk, options.weights)
        LOG.info("Inception-v3 weights %s, sha256 %s", options.weights, digest)
    return encoder


def trained_parameters(encoder: nn.Module) -> list[nn.Parameter]:
    """The parameters that DAMSM pre-training trains."""
    return [parameter for parameter in encoder.parameters() if parameter.requires_grad]
