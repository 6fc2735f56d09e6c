"""The trunk of Inception-v3 in torchvision's layout: same names, same numbers, no aux head, no classifier.

Torchvision itself is not used (it has no CPU-only build for every platform). A published
``inception_v3_google`` weight file loads by :func:`load_inception`.

Axis letters: B batch. Block letters A to E are those of the paper's figures (arXiv 1512.00567) and of
torchvision's module tree.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.state_file import read_state_file, sha256

REGION_CHANNELS = 768  # of Mixed_6e, 17x17 for a 299x299 image
CODE_CHANNELS = 2048  # of Mixed_7c, pooled
DROPPED = ("AuxLogits.", "fc.")  # of a published file: the heads that DAMSM does not use


class BasicConv2d(nn.Module):
    """Convolution without bias, BatchNorm, ReLU."""

    norms_follow = {"conv": "bn"}  # for memgan.fold_batchnorm

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, O, H', W')."""
        return F.relu(self.bn(self.conv(x)))


def _same_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1)


class InceptionA(nn.Module):
    """35x35: 1x1, 5x5, double 3x3 and pooled branches → 224 + ``pool_channels``."""

    def __init__(self, channels: int, pool_channels: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(channels, 64, 1)
        self.branch5x5_1 = BasicConv2d(channels, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(channels, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch5x5_2(self.branch5x5_1(x)),
                self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                self.branch_pool(_same_pool(x)),
            ],
            1,
        )


class InceptionB(nn.Module):
    """35x35 → 17x17, 480 channels more."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionC(nn.Module):
    """17x17: 7x7 convolutions as rows and columns, ``inner`` channels wide → 768."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        row, column = {"padding": (0, 3)}, {"padding": (3, 0)}
        self.branch1x1 = BasicConv2d(channels, 192, 1)
        self.branch7x7_1 = BasicConv2d(channels, inner, 1)
        self.branch7x7_2 = BasicConv2d(inner, inner, (1, 7), **row)
        self.branch7x7_3 = BasicConv2d(inner, 192, (7, 1), **column)
        self.branch7x7dbl_1 = BasicConv2d(channels, inner, 1)
        self.branch7x7dbl_2 = BasicConv2d(inner, inner, (7, 1), **column)
        self.branch7x7dbl_3 = BasicConv2d(inner, inner, (1, 7), **row)
        self.branch7x7dbl_4 = BasicConv2d(inner, inner, (7, 1), **column)
        self.branch7x7dbl_5 = BasicConv2d(inner, 192, (1, 7), **row)
        self.branch_pool = BasicConv2d(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_same_pool(x))], 1)


class InceptionD(nn.Module):
    """17x17 → 8x8, 512 channels more."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(channels, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(channels, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        large = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        small = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([small, self.branch7x7x3_4(large), F.max_pool2d(x, 3, stride=2)], 1)


class InceptionE(nn.Module):
    """8x8: branches that fork into a row and a column → 2048."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(channels, 320, 1)
        self.branch3x3_1 = BasicConv2d(channels, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(single),
                self.branch3x3_2b(single),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(_same_pool(x)),
            ],
            1,
        )


class InceptionTrunk(nn.Module):
    """Inception-v3 up to its last block; attribute names are torchvision's."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 299, 299) in [-1, 1] → Mixed_6e (B, 768, 17, 17) and the pooled Mixed_7c (B, 2048)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, stride=2))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        regions = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(regions)))
        return regions, x.mean((2, 3))


def load_inception(trunk: InceptionTrunk, path: str | Path) -> str:
    """Fill ``trunk`` from a published Inception-v3 weight file (torchvision's layout); return its sha256.

    The file's classifier and auxiliary head are dropped; any other key too many, missing or of another shape
    is a :class:`CheckpointError` that names it.
    """
    state = read_state_file(path, "Inception-v3")
    state = {key: value for key, value in state.items() if not key.startswith(DROPPED)}
    try:
        trunk.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} is not Inception-v3 in torchvision's layout: {error}") from error
    return sha256(path)
