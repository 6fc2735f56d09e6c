"""An exponential moving average of a network, its buffers included."""

from __future__ import annotations

import copy

import torch
from torch import nn


class ExponentialMovingAverage:
    """``average = decay * average + (1 - decay) * network`` after each step.

    The decay ramps up, ``min(decay, (1 + step) / (10 + step))``, so that the first weights are soon forgotten.
    BatchNorm's buffers are copied: averaged weights with statistics of other weights (the release's) or with
    lagging ones draw washed-out images.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"`decay` must be in [0, 1), got {decay}")
        self.module = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.step = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards ``network``."""
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        average, current = list(self.module.parameters()), list(network.parameters())
        torch._foreach_lerp_(average, current, 1.0 - decay)
        for mine, theirs in zip(self.module.buffers(), network.buffers()):
            mine.copy_(theirs)
