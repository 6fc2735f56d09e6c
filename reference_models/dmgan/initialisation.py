"""Weights of a new generator or discriminator, as the release draws them."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def initialise(module: nn.Module) -> nn.Module:
    """Orthogonal matrices and convolutions, linear biases 0, BatchNorm weights N(1, 0.02) and biases 0.

    Draws from torch's global generator; returns ``module``. The text encoder and the image encoders draw
    their own weights when they are made and are not to be passed through this.
    """
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)
            continue
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.ndim >= 2:  # convolutions, linears and the memory's projections and gates
                nn.init.orthogonal_(parameter)
            elif isinstance(part, nn.Linear) and name == "bias":
                nn.init.zeros_(parameter)
    return module
