"""What each arm costs: parameters, and the floating-point operations of one image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from memgan import use_backend
from reference_models.dmgan.ablation.arms import ARMS, build_generator
from reference_models.dmgan.config import Config
from reference_models.dmgan.flops import count_flops

WORDS = 18  # of the caption that is counted: the longest in training


@dataclass(frozen=True)
class Cost:
    """One arm's size."""

    arm: str
    parameters: int  # of the whole generator
    refinement_parameters: int  # of the part that the arms train: refinements and their image heads
    flops: int  # of one image, forward; a multiplication and its addition count 2


def cost(config: Config, arm: str) -> Cost:
    """Count ``arm``; nothing is computed, all tensors are on the device ``meta``."""
    settings = config.generator
    with torch.device("meta"):
        generator = build_generator(config, arm).eval().requires_grad_(False)
        inputs = (
            torch.empty(1, settings.noise_dim),
            torch.empty(1, settings.word_dim),
            torch.empty(1, WORDS, settings.word_dim),
        )
        condition_noise = torch.empty(1, settings.condition_dim)
    # The counter knows torch's own operations: the definition of the memory is made of them.
    with use_backend("reference"), count_flops() as counter, torch.inference_mode():
        generator(*inputs, condition_noise=condition_noise)
    trained = _count(generator.refinements) + _count(nn.ModuleList(list(generator.heads)[1:]))
    return Cost(arm, _count(generator), trained, counter.get_total_flops())


def costs(config: Config, arms: tuple[str, ...] = ARMS) -> list[Cost]:
    """Every arm's cost, in order."""
    return [cost(config, arm) for arm in arms]


def cost_lines(found: list[Cost]) -> list[str]:
    """A table for the terminal."""
    head = f"{'arm':12s}{'parameters':>12s}{'of refinements':>16s}{'MFLOP an image':>16s}"
    return [head] + [
        f"{one.arm:12s}{one.parameters:12,d}{one.refinement_parameters:16,d}{one.flops / 1e6:16,.1f}"
        for one in found
    ]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
