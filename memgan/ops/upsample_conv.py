"""Nearest 2x up-sampling followed by a 3x3 convolution, without computing the large image's repeats."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memgan.backends import dispatch
from memgan.backends.reference.upsample_conv import upsample_conv as definition
from memgan.errors import ShapeError
from memgan.ops._checks import check_floating_or_cast, check_shape

# Where the short form was measured to be faster, forward and backward: on CPUs through oneDNN from 16x16 pixels
# on. Below, folding the weight costs more than it saves (1024 channels at 4x4: 4 times as slow).
MEASURED_DTYPES = (torch.float32, torch.bfloat16) if torch.backends.mkldnn.is_available() else ()
FEWEST_PIXELS = 256


def upsample_conv(image_features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Nearest 2x up-sampling, then a 3x3 convolution with padding 1.

    The up-sampled image holds each pixel four times, so each output pixel sees only 2x2 different ones. Adding the
    weights that meet the same pixel gives a transposed convolution of the small image, 4x4 and stride 2: the same
    sum with 16 multiplications a pixel and channel pair instead of 36,

    .. math:: k_t = w_{2-t} + w_{3-t}, \qquad t = 0 \dots 3, \quad w_{-1} = w_3 = 0

    along each axis. It is taken where it was measured to be faster (float32 and bfloat16 on a CPU, from 16x16
    pixels on); elsewhere, and with ``use_backend("reference")``, the definition runs. Both have every derivative.

    Args:
        image_features: ``(B, C, H, W)``, floating point, in any memory format.
        weight: ``(D, C, 3, 3)``, as in ``nn.Conv2d``.
        bias: ``(D,)`` or None.

    Returns:
        ``(B, D, 2H, 2W)``.

    Raises:
        ShapeError, DtypeError, DeviceError: the message names the argument.

    Source: the first two layers of the release's up-sampling block.

    >>> upsample_conv(torch.zeros(2, 3, 5, 7), torch.zeros(4, 3, 3, 3)).shape
    torch.Size([2, 4, 10, 14])
    """
    op = "upsample_conv"
    check_shape(op, "image_features", image_features, (None, None, None, None), "(B, C, H, W)")
    check_shape(op, "weight", weight, (None, image_features.shape[1], 3, 3), "(D, C, 3, 3)")
    if bias is not None:
        check_shape(op, "bias", bias, (weight.shape[0],), "(D,)")
    if 0 in image_features.shape[2:]:
        raise ShapeError(f"{op}: `image_features` must have pixels, got {tuple(image_features.shape)}.")
    check_floating_or_cast(op, image_features=image_features, weight=weight, bias=bias)
    if dispatch.prefers_definition() or not short_form_is_faster(image_features):
        return definition(image_features, weight, bias)
    return short_form(image_features, weight, bias)


def short_form_is_faster(image_features: Tensor) -> bool:
    """Whether measurements say so for this input."""
    pixels = image_features.shape[2] * image_features.shape[3]
    return (
        image_features.device.type == "cpu"
        and image_features.dtype in MEASURED_DTYPES
        and pixels >= FEWEST_PIXELS
    )


def short_form(image_features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The transposed convolution that equals the definition."""
    # channels_last, which convolutions of such images want; for others it was measured to be no slower. By axes:
    # under vmap a tensor cannot be asked for any other memory format than the default.
    kernel = folded_kernel(weight).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return F.conv_transpose2d(image_features, kernel, bias, stride=2, padding=1)


def folded_kernel(weight: Tensor) -> Tensor:
    """``weight`` (D, C, 3, 3) → (C, D, 4, 4): the kernel of the transposed convolution, in the weight's dtype."""
    turned = weight.flip(2, 3).transpose(0, 1)
    wide = F.pad(turned, (0, 1)) + F.pad(turned, (1, 0))
    return F.pad(wide, (0, 0, 0, 1)) + F.pad(wide, (0, 0, 1, 0))
