"""Weights of a new generator or discriminator, as the release draws them."""

from __future__ import annotations

import torch
from torch import nn

from memgan import DynamicMemory


@torch.no_grad()
def initialise(module: nn.Module) -> nn.Module:
    """Orthogonal matrices and convolutions, linear biases 0, BatchNorm weights N(1, 0.02) and biases 0.

    Convolutions keep the biases they were made with, and so do the memory's projections, which are 1x1
    convolutions in the release. Draws from torch's global generator; returns ``module``. The text encoder and
    the image encoders draw their own weights when they are made and are not to be passed through this.
    """
    memories = (part for part in module.modules() if isinstance(part, DynamicMemory))
    convolutional = {id(part) for memory in memories for part in memory.modules()}
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.orthogonal_(part.weight)
            if isinstance(part, nn.Linear) and part.bias is not None and id(part) not in convolutional:
                nn.init.zeros_(part.bias)
    return module
