"""The convolutional blocks around the memory (section 2 of the release's networks)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memgan.errors import ShapeError
from memgan.layers._hooks import hooked, must_be_called, replaced
from memgan.ops import upsample_conv
from memgan.ops._checks import check_shape
from memgan.ops.norm_glu import norm_glu


class GLU(nn.Module):
    """Gated linear unit over channels: ``x[:, :half] * sigmoid(x[:, half:])``.

    Source: Dauphin et al., "Language modeling with gated convolutional networks"; the release's activation.

    >>> GLU()(torch.zeros(2, 6, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, 2C, ...) → (B, C, ...).

        Raises:
            ShapeError: ``x`` has no channels, or an odd number of them.
        """
        if x.ndim < 2 or x.shape[1] % 2:
            raise ShapeError(
                f"GLU: `x` must have an even number of channels, as (B, 2C, ...), got {tuple(x.shape)}."
            )
        if not torch.is_grad_enabled():
            return F.glu(x, 1)  # one pass instead of two
        # Not F.glu: its backward leaves channels_last, and a BatchNorm before it is then four times as slow.
        value, gate = x.chunk(2, dim=1)
        return value * torch.sigmoid(gate)


def gated_norm(norm: nn.Module, glu: nn.Module, x: Tensor) -> Tensor:
    """``glu(norm(x))``, (B, 2C, H, W) → (B, C, H, W): fused where ``norm`` is a plain BatchNorm in training."""
    if not (
        type(norm) is nn.BatchNorm2d
        and type(glu) is GLU
        and not (replaced(norm, nn.BatchNorm2d) or replaced(glu, GLU))
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.running_mean is not None
        and norm.running_var is not None
        and norm.num_batches_tracked is not None
        and norm.momentum is not None
        and x.ndim == 4
        and x.shape[1] == norm.num_features
        and x.numel() > x.shape[1]
        and not hooked(norm, glu)
    ):
        gated: Tensor = glu(norm(x))
        return gated
    norm.num_batches_tracked.add_(1)
    statistics = norm.running_mean, norm.running_var
    return norm_glu(x, norm.weight, norm.bias, *statistics, momentum=norm.momentum, eps=norm.eps)


class ResidualBlock(nn.Module):
    """conv3x3 c → 2c, BatchNorm, GLU, conv3x3 c → c, BatchNorm, plus the input.

    Source: the release's residual block.

    >>> ResidualBlock(6)(torch.zeros(2, 6, 5, 7)).shape
    torch.Size([2, 6, 5, 7])
    """

    norms_follow: ClassVar = {"conv1": "norm1", "conv2": "norm2"}

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(2 * channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.glu = GLU()

    def forward(self, x: Tensor, *, twice: bool = False) -> Tensor:
        """``x`` (B, C, H, W) → (B, C, H, W).

        With ``twice`` the input is ``x`` (B, C/2, H, W) beside itself, [x, x]: the halves of the first weight are
        added instead, which halves that convolution.

        Raises:
            ShapeError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        channels = self.conv1.in_channels // 2 if twice else self.conv1.in_channels
        letters = "(B, C/2, H, W)" if twice else "(B, C, H, W)"
        check_shape("ResidualBlock", "x", x, (None, channels, None, None), letters)
        if twice and must_be_called(self.conv1):
            x, twice = torch.cat([x, x], dim=1), False
        if not twice:
            y = gated_norm(self.norm1, self.glu, self.conv1(x))
            return self.norm2(self.conv2(y)) + x
        first, second = self.conv1.weight.chunk(2, dim=1)
        y = F.conv2d(x, first + second, self.conv1.bias, padding=1)
        y = gated_norm(self.norm1, self.glu, y)
        y = self.norm2(self.conv2(y))
        # Not broadcast: the gradient's sum over the copies would leave channels_last and take twenty times as long.
        return y + torch.cat([x, x], dim=1)


class UpsampleBlock(nn.Module):
    """Nearest 2x up-sampling, conv3x3 in → 2 out (both as :func:`memgan.upsample_conv`), BatchNorm, GLU.

    Source: the release's up-sampling block.

    >>> UpsampleBlock(6, 3)(torch.zeros(2, 6, 5, 7)).shape
    torch.Size([2, 3, 10, 14])
    """

    norms_follow: ClassVar = {"conv": "norm"}

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 2 * out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(2 * out_channels)
        self.glu = GLU()

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, in, H, W) → (B, out, 2H, 2W).

        Raises:
            ShapeError, DtypeError, DeviceError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        check_shape("UpsampleBlock", "x", x, (None, self.conv.in_channels, None, None), "(B, in, H, W)")
        if must_be_called(self.conv):
            y = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        else:
            y = upsample_conv(x, self.conv.weight, self.conv.bias)
        return gated_norm(self.norm, self.glu, y)
