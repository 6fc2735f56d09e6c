"""Spectral normalisation as the released discriminators do it.

Each forward pass, in training and in evaluation alike, runs one power iteration: first
``v = normalize(W^T u)``, then ``u = normalize(W v)``, and divides the weight by ``sigma = u^T W v``.
``torch.nn.utils.parametrizations.spectral_norm`` updates u first and never in evaluation, which gives other
numbers for the same weights, hence this module.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def power_iteration(weight: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One iteration on ``weight`` (O, ...) from ``u`` (O,): the new u (O,), v (I,) and sigma (), v first.

    u and v are constants to autograd; the gradient of sigma flows to ``weight`` alone.
    """
    matrix = weight.flatten(1)
    with torch.no_grad():
        v = F.normalize(matrix.t().mv(u), dim=0, eps=1e-12)
        u = F.normalize(matrix.mv(v), dim=0, eps=1e-12)
    return u, v, torch.dot(u, matrix.mv(v))


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight is divided by its largest singular value, estimated as it goes.

    ``weight`` is the raw parameter; the buffers ``weight_u`` (O,) and ``weight_v`` (I*k*k,) carry the
    estimate from one forward pass to the next and are saved with the model. The iteration runs in float32
    (float64 for a float64 weight), under autocast too: in bfloat16 sigma keeps only three digits.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, padding=padding)
        self.register_buffer("weight_u", F.normalize(torch.randn(out_channels), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(self.weight[0].numel()), dim=0))

    def normalised_weight(self) -> Tensor:
        """The weight over its spectral norm, after one power iteration that the buffers keep."""
        precise = torch.promote_types(self.weight.dtype, torch.float32)
        with torch.autocast(self.weight.device.type, enabled=False):
            weight = self.weight.to(precise)
            u, v, sigma = power_iteration(weight, self.weight_u.to(precise))
            with torch.no_grad():
                # Copies: the graph keeps its own u and v, so that several forward passes may come before
                # one backward pass.
                self.weight_u.copy_(u)
                self.weight_v.copy_(v)
            return (weight / sigma).to(self.weight.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, O, H', W')."""
        return self._conv_forward(images, self.normalised_weight(), self.bias)
