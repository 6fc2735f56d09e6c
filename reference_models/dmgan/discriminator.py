"""One discriminator an image size: is this image real, and does it fit the sentence?

Axis letters: B images, P pairs of image and sentence, E sentence width, F = 8 * width feature channels, S statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.config import Config, DiscriminatorConfig
from reference_models.dmgan.config_checks import SPREAD_GROUP
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

    Spectral norm on every convolution but the two ``outlogits``; no BatchNorm. With ``config.minibatch_std`` the
    unconditional head also sees how much the images of its group differ, so that a generator which draws what nobody
    asked for always alike, the light say, is found out: a single image does not show it.
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
        self.statistics = config.minibatch_std
        self.unconditional = nn.Conv2d(features + self.statistics, 1, 4, stride=4)

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

    def conditional_logits(
        self, features: Tensor, sentence: Tensor, image_index: Tensor | None = None
    ) -> Tensor:
        """(B, F, 4, 4) and (P, E) → (P,): does image ``image_index[p]`` (None: p) fit sentence p?

        That is ``joint`` of the features and the sentence at every pixel. Its weight has a half for each, so the
        features' is applied once an image, and the sentence's at one pixel instead of all.
        """
        joint = self.joint
        weight = joint.normalised_weight() if isinstance(joint, SpectralConv2d) else joint.weight
        for_image, for_sentence = split_inputs(weight, features.shape[1])
        by_image = F.conv2d(features, for_image, joint.bias, padding=1)
        if image_index is not None:
            by_image = by_image[image_index]
        by_sentence = convolved_plane(sentence, for_sentence, features.shape[2], features.shape[3])
        return one_number(self.conditional, F.leaky_relu(by_image + by_sentence, SLOPE))

    def unconditional_logits(self, features: Tensor) -> Tensor:
        """(B, F, 4, 4) → (B,): is the image real? With statistics, B is a multiple of ``SPREAD_GROUP``."""
        if self.statistics:
            features = torch.cat([features, minibatch_std(features, self.statistics)], 1)
        return one_number(self.unconditional, features)

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
        return self.conditional_logits(features, sentence, image_index), self.unconditional_logits(features)


def one_number(convolution: nn.Conv2d, features: Tensor) -> Tensor:
    """(B, F, 4, 4) → (B,), by a convolution to one channel whose kernel is as large as the image.

    That is a dot product an image, and convolutions of this shape are slow, their gradients most.
    """
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)  # no copy in channels_last
    return F.linear(features.permute(0, 2, 3, 1).flatten(1), weight, convolution.bias).flatten()


def minibatch_std(features: Tensor, statistics: int, group: int = SPREAD_GROUP) -> Tensor:
    """Minibatch standard deviation (Karras et al., 2018): (B, F, H, W) → (B, S, H, W), constant over the pixels.

    Image b has the statistics of the ``group`` images with its ``b // group``: the standard deviation over them of
    each feature, averaged over the pixels and over the F / S channels of one statistic.

    >>> minibatch_std(torch.ones(8, 4, 2, 2), 2).shape
    torch.Size([8, 2, 2, 2])
    """
    count, channels, height, width = features.shape
    if count % group:
        raise ValueError(f"`features` must be of a multiple of {group} images, got {count}")
    groups = features.to(torch.promote_types(features.dtype, torch.float32)).unflatten(0, (-1, group))
    spread = (groups.var(1, unbiased=False) + 1e-8).sqrt()  # (B / group, F, H, W)
    means = spread.unflatten(1, (statistics, channels // statistics)).mean((2, 3, 4))
    spread = means.to(features.dtype).repeat_interleave(group, 0)
    return spread[:, :, None, None].expand(count, statistics, height, width)


def split_inputs(weight: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """A convolution's weight (O, I, h, w) → views of its ``first`` input channels and of the others.

    In channels_last a kernel's place has its channels side by side: split so, the halves' gradients are joined as the
    weight lies, where two slices would each be added to zeros and the sum be laid out anew.
    """
    one, two = weight.permute(0, 2, 3, 1).split([first, weight.shape[1] - first], 3)
    return one.permute(0, 3, 1, 2), two.permute(0, 3, 1, 2)


def convolved_plane(values: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """A 3x3 convolution with padding 1 of images that are ``values`` (P, E) at every pixel: (P, O, H, W).

    ``weight`` (O, E, 3, 3). Nine products a value, one for each place in the kernel; a pixel adds those inside.
    """
    vertical, horizontal = (_inside(size, values.device) for size in (height, width))
    inside = torch.stack([rows[:, None] & columns for rows in vertical for columns in horizontal])
    kernel = weight.permute(2, 3, 0, 1).flatten(0, 2)  # (9 O, E)
    places = F.linear(values, kernel).unflatten(1, (9, -1))  # (P, 9, O)
    pixels = inside.flatten(1).t().to(places) @ places  # (P, H W, O), as channels_last lies
    return pixels.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def _inside(size: int, device: torch.device) -> list[Tensor]:
    """For each place in a kernel of three: at which pixels it meets the image rather than the padding."""
    pixels = torch.arange(size, device=device)
    return [(pixels + step >= 0) & (pixels + step < size) for step in (-1, 0, 1)]


def with_statistics(discriminators: nn.ModuleList, statistics: int) -> nn.ModuleList:
    """Give each unconditional head ``statistics``, if it had another number; the new ones weigh nothing at first."""
    for one in discriminators:
        if one.statistics == statistics:
            continue
        head, features = one.unconditional, one.joint.out_channels
        grown = nn.Conv2d(features + statistics, 1, 4, stride=4)
        with torch.no_grad():
            grown.weight.zero_()
            grown.weight[:, :features] = head.weight[:, :features]
            grown.bias.copy_(head.bias)
        one.unconditional, one.statistics = grown, statistics
    return discriminators


def build_discriminators(config: Config) -> nn.ModuleList:
    """One discriminator for each size that the generator draws, lowest first."""
    return nn.ModuleList(Discriminator(size, config.discriminator) for size in config.generator.sizes)
