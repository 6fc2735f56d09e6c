"""The arms: generators that differ in how a refinement reads the words, and in nothing else.

Axis letters: B batch, C channels, H W feature size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor, nn

from memgan import GLU
from reference_models.dmgan.config import Arm, Config
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.initialisation import initialise

WIDE = "wide"  # the baseline with the full model's number of parameters
ARMS: tuple[str, ...] = ("baseline", "memory", "write_gate", "full", WIDE)


class WideResidualBlock(nn.Module):
    """memgan's residual block with ``hidden`` instead of ``channels`` in its middle.

    conv3x3 c → 2h, BatchNorm, GLU, conv3x3 h → c, BatchNorm, plus the input.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * hidden, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(2 * hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.glu = GLU()

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, C, H, W) → (B, C, H, W)."""
        return self.norm2(self.conv2(self.glu(self.norm1(self.conv1(x))))) + x


def arm_config(config: Config, arm: str) -> Config:
    """``config`` with the arm's memory; the name says which arm it is, ``wide`` included."""
    if arm not in ARMS:
        raise ConfigError(f"`arm` must be one of {', '.join(ARMS)}, got {arm!r}")
    kind = "baseline" if arm == WIDE else arm
    assert kind in get_args(Arm)
    return replace(
        config,
        name=f"{config.name.split('-')[0]}-{arm}",
        generator=replace(config.generator, arm=kind),  # type: ignore[arg-type]
    )


def arm_of(config: Config) -> str:
    """The inverse of :func:`arm_config`: the arm of a stored configuration."""
    return WIDE if config.name.endswith(f"-{WIDE}") else config.generator.arm


def build_generator(config: Config, arm: str) -> Generator:
    """A generator of ``arm`` with weights as torch makes them."""
    generator = Generator(arm_config(config, arm).generator)
    if arm == WIDE:
        hidden = wide_hidden(config)
        for stage in generator.refinements:
            channels = 2 * config.generator.channels
            stage.residual = nn.Sequential(*(WideResidualBlock(channels, hidden) for _ in stage.residual))
    return generator


def wide_hidden(config: Config) -> int:
    """The smallest middle width with which the baseline has no fewer parameters than the full model."""
    with torch.device("meta"):
        full, baseline = (
            sum(p.numel() for p in build_generator(config, arm).parameters()) for arm in ("full", "baseline")
        )
    channels = 2 * config.generator.channels
    a_unit = 27 * channels + 4  # both convolutions and the first BatchNorm, for one more middle channel
    blocks = config.generator.residual_blocks * config.generator.refinements
    return channels + -(-max(full - baseline, 0) // (a_unit * max(blocks, 1)))


def paired_generator(config: Config, arm: str, seed: int) -> Generator:
    """A new generator whose parts that the full model has too begin with the full model's weights of ``seed``.

    The arms draw different numbers of random weights, so the same seed alone would give them different residual
    blocks, up-sampling blocks and image heads.
    """
    state = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        full = initialise(build_generator(config, "full")).state_dict()
        torch.manual_seed(seed + 1)
        generator = initialise(build_generator(config, arm))
    finally:
        torch.set_rng_state(state)
    with torch.no_grad():
        for name, value in generator.state_dict().items():
            if name in full and full[name].shape == value.shape:
                value.copy_(full[name])
    assert isinstance(generator, Generator)
    return generator
