"""What is measured: the paper's networks with fresh weights, and one fixed batch."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reference_models.dmgan.config import Config, GeneratorConfig, cub
from reference_models.dmgan.data.batch import Batch
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.discriminator import build_discriminators
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.image_encoder import build_image_encoder
from reference_models.dmgan.initialisation import initialise
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.ema import ExponentialMovingAverage
from reference_models.dmgan.training.step import Networks
from reference_models.dmgan.training.weights import Encoders

WORDS = 5450  # CUB's vocabulary
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def paper(precision: str = "float32") -> Config:
    """CUB as the paper trains it, the Inception image encoder with random weights."""
    config = cub()
    return dataclasses.replace(config, train=dataclasses.replace(config.train, precision=precision))


def quick(precision: str = "float32") -> Config:
    """The same networks at a sixteenth of the pixels and few channels, for tests of the benchmark itself."""
    config = paper(precision)
    return dataclasses.replace(
        config,
        generator=GeneratorConfig(channels=8, first_size=16, residual_blocks=1),
        image_encoder=dataclasses.replace(config.image_encoder, kind="small", image_size=64),
        discriminator=dataclasses.replace(config.discriminator, width=8),
    )


@dataclass(frozen=True)
class GeneratorInputs:
    """One batch of noise and captions' features."""

    noise: Tensor  # (B, Z)
    sentence: Tensor  # (B, E)
    words: Tensor  # (B, L, E)
    word_mask: Tensor  # (B, L)
    condition_noise: Tensor  # (B, c)

    def keywords(self) -> dict[str, Tensor]:
        """For ``Generator.forward``."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def generator_inputs(config: Config, batch: int, device: torch.device, seed: int = 0) -> GeneratorInputs:
    """Captions of 8 to ``max_words`` words."""
    made, options = torch.Generator().manual_seed(seed), config.generator
    longest = config.data.max_words
    lengths = torch.randint(8, longest + 1, (batch,), generator=made)
    lengths[0] = longest
    mask = torch.arange(longest) < lengths[:, None]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=made).to(device)

    words = 0.3 * normal(batch, longest, options.word_dim) * mask[:, :, None].to(device)
    return GeneratorInputs(
        normal(batch, options.noise_dim),
        0.3 * normal(batch, options.word_dim),
        words,
        mask.to(device),
        normal(batch, options.condition_dim),
    )


def generator(config: Config, device: torch.device) -> Generator:
    """A fresh generator, in train mode."""
    torch.manual_seed(0)
    return initialise(Generator(config.generator)).to(device)  # type: ignore[return-value]


@torch.no_grad()
def settled(network: Generator, config: Config, device: torch.device) -> Generator:
    """``network`` in eval mode, BatchNorm's statistics those of its own features.

    The first BatchNorm sees one number a channel and image, so it gets many images: a variance of a few would
    multiply rounding errors.
    """
    for part in network.modules():
        if isinstance(part, BATCHNORMS):
            part.momentum = None  # the mean of all batches
    many = generator_inputs(config, 1024, device, seed=1)
    condition, _, _ = network.conditioning(many.sentence, noise=many.condition_noise)
    first = network.initial
    first.norm(first.linear(torch.cat([condition, many.noise], 1)))
    first.norm.eval()
    for seed in (2, 3):
        network(**generator_inputs(config, 4, device, seed).keywords())
    return network.eval()


def training_batch(config: Config, batch: int, device: torch.device, seed: int = 0) -> Batch:
    """Noise for images; image i's wrong caption is i + 1, the last has none, as in the release."""
    made = torch.Generator().manual_seed(seed)
    longest = config.data.max_words
    lengths = torch.randint(8, longest + 1, (batch,), generator=made)
    lengths[0] = longest
    captions = torch.randint(1, WORDS, (batch, longest), generator=made)
    return Batch(
        images=tuple(torch.rand(batch, 3, s, s, generator=made) * 2 - 1 for s in config.generator.sizes),
        captions=captions.masked_fill(torch.arange(longest) >= lengths[:, None], 0),
        lengths=lengths,
        class_ids=torch.arange(batch),
        wrong_index=torch.tensor([*range(1, batch), -1]),
        texts=("",) * batch,
        keys=tuple(map(str, range(batch))),
    ).to(device)


def networks(config: Config, device: torch.device) -> Networks:
    """Everything that a training step touches, with fresh weights."""
    made = generator(config, device)
    discriminators = initialise(build_discriminators(config)).to(device).train()
    text = TextEncoder(WORDS, config.text).to(device).eval().requires_grad_(False)
    image = build_image_encoder(config).to(device).eval().requires_grad_(False)
    vocabulary = Vocabulary(["<end>", *(f"w{index}" for index in range(1, WORDS))])
    average = ExponentialMovingAverage(made, config.train.ema_decay)
    return Networks(made, discriminators, average, Encoders(text, image, vocabulary))  # type: ignore[arg-type]


def in_dtype(nets: Networks, dtype: torch.dtype) -> Networks:
    """The same networks, their numbers in ``dtype``."""
    encoders = nets.encoders.text, nets.encoders.image
    for module in (nets.generator, nets.discriminators, nets.average.module, *encoders):
        module.to(dtype)
    if dtype == torch.float64:
        # Orthogonal to as many digits, so that each step of the power iteration finds the same spectral norm: the
        # plain form takes three where the trainer takes one.
        torch.manual_seed(1)
        initialise(nets.discriminators)
    return nets


def in_layout(nets: Networks) -> Networks:
    """A copy as the trainer lays it out: channels_last."""
    layout: dict[str, Any] = {"memory_format": torch.channels_last}
    nets = copy.deepcopy(nets)
    nets.generator.to(**layout)
    nets.discriminators.to(**layout)
    nets.encoders.image.to(**layout)
    return nets
