"""One run of the ablation: the early-stopped first stage of a seed, or an arm's refinements on top of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reference_models.dmgan.ablation.arms import arm_config, build_generator, paired_generator
from reference_models.dmgan.config import Config
from reference_models.dmgan.data.batch import CaptionedImages
from reference_models.dmgan.discriminator import build_discriminators
from reference_models.dmgan.generator import Generator, GeneratorOutput
from reference_models.dmgan.initialisation import initialise
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import Encoders, load_generator, read_config, read_into

FIRST = "first"  # the run that makes a seed's first stage
ENLARGED = 64  # pixels that a first image is enlarged to, to be scored


def first_config(config: Config, images: int, seed: int) -> Config:
    """The first stage alone: no refinement, so one discriminator, and λ2 0 (no last stage for DAMSM to judge)."""
    return replace(
        config,
        name=f"{config.name}-{FIRST}",
        generator=replace(config.generator, refinements=0),
        loss=replace(config.loss, damsm=0.0),
        train=replace(config.train, images=images, seed=seed),
    )


def first_parts(generator: Generator) -> list[nn.Module]:
    """What is frozen: conditioning augmentation, initial stage, first image head."""
    return [generator.conditioning, generator.initial, generator.heads[0]]


class ArmTrainer(Trainer):
    """A :class:`Trainer` of the refinements only.

    The first stage is in eval mode and without gradients, so that every arm of a seed refines the very same first
    images, and those have no discriminator: nothing could learn from it. The noise of step k is the same in every
    arm: torch's generator is seeded after the networks are made.
    """

    def __init__(
        self,
        config: Config,
        arm: str,
        first: Path,
        images: CaptionedImages,
        encoders: Encoders,
        out: Path,
        *,
        device: torch.device | str = "cpu",
        quiet: bool = True,
    ) -> None:
        seed = config.train.seed
        generator = paired_generator(config, arm, seed)
        load_first_stage(generator, first)
        torch.manual_seed(seed)
        discriminators = initialise(build_discriminators(config))[1:]
        super().__init__(
            arm_config(config, arm),
            images,
            encoders,
            out,
            device=device,
            start_from=(generator, discriminators),
            quiet=quiet,
        )
        for part in first_parts(self.networks.generator):  # type: ignore[arg-type]
            part.eval().requires_grad_(False)
        torch.manual_seed(seed)


def load_first_stage(generator: Generator, first: Path) -> None:
    """Copy the first stage that the run in ``first`` exported (its averaged weights) into ``generator``."""
    folder = first / "export"
    alone = load_generator(folder, read_config(folder))
    for mine, theirs in zip(first_parts(generator), first_parts(alone)):
        mine.load_state_dict(theirs.state_dict())


def load_arm(folder: Path, config: Config, arm: str) -> Generator:
    """An arm's averaged generator, frozen, in eval mode; ``folder`` is its run's."""
    generator = build_generator(config, arm)
    read_into(generator, folder / "export" / "generator.safetensors")
    return generator.eval().requires_grad_(False)


class FirstImage(nn.Module):
    """A generator whose last image is its first one, enlarged: what there was to refine, scored like the arms."""

    def __init__(self, generator: Generator, size: int = ENLARGED) -> None:
        super().__init__()
        self.generator, self.config, self.size = generator, generator.config, size

    def forward(self, *inputs: Any, **options: Any) -> GeneratorOutput:
        """The generator's call."""
        output = self.generator(*inputs, **options)
        return output._replace(images=[*output.images, enlarged(output.images[0], self.size)])


def enlarged(images: Tensor, size: int) -> Tensor:
    """(B, 3, S, S) → (B, 3, size, size), bilinear."""
    return nn.functional.interpolate(images.float(), (size, size), mode="bilinear", align_corners=False)
