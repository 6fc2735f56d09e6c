"""A BatchNorm in training and the gated linear unit behind it, in two passes over the features instead of eight."""

from __future__ import annotations

from torch import Tensor

from memgan.backends import dispatch


def norm_glu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    *,
    momentum: float,
    eps: float,
) -> Tensor:
    r"""Normalise each channel by the batch's own mean and variance, then let the second half gate the first.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \, w + b, \qquad
              z_c = y_c \, \mathrm{sigmoid}(y_{C + c})

    Not public: :class:`memgan.UpsampleBlock` and :class:`memgan.ResidualBlock` call it.

    Args:
        x: ``(B, 2C, H, W)``, floating point, more than one number a channel.
        weight, bias: ``(2C,)``; float32 for x in bfloat16, otherwise of x's dtype.
        running_mean, running_var: ``(2C,)``; moved by ``momentum`` towards the mean and the unbiased variance of
            ``x``, in place, as ``nn.BatchNorm2d`` does.
        momentum, eps: as in ``nn.BatchNorm2d``.

    Returns:
        ``(B, C, H, W)``, in x's dtype and memory format.

    Raises:
        BackendUnavailable: a backend was forced and cannot run this input.
    """
    result: Tensor = dispatch.call(
        "norm_glu", x, weight, bias, running_mean, running_var, momentum=momentum, eps=eps
    )
    return result
