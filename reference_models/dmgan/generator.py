"""The generator: an initial image from the sentence and noise, then refinements that read the words.

Axis letters: B batch, Z noise, E word width, L words, H = W image features' size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from memgan import ConditioningAugmentation, DynamicMemory, InitialStage, RefinementStage, WordAttention
from reference_models.dmgan.config import GeneratorConfig
from reference_models.dmgan.errors import ConfigError


class GeneratorOutput(NamedTuple):
    """Images of every stage and what the losses and reports need."""

    images: list[Tensor]  # (B, 3, S, S) in [-1, 1] each, lowest resolution first
    attention: list[Tensor] | None  # (B, L, H, W) a refinement, at the size it refines from
    mu: Tensor  # (B, condition_dim), of the conditioning augmentation
    logvar: Tensor  # (B, condition_dim)


class Inspection(NamedTuple):
    """A :class:`GeneratorOutput` with the gates, for reports; one entry a refinement."""

    images: list[Tensor]
    attention: list[Tensor]
    mu: Tensor
    logvar: Tensor
    write_gate: list[Tensor | None]  # (B, L) in [0, 1]; None where the arm has no write gate
    response_gate: list[Tensor | None]  # (B, 1, H, W) in [0, 1]; None where the arm has no response gate


def build_memory(config: GeneratorConfig) -> nn.Module:
    """What a refinement reads the words with; ``config.arm`` says which parts of the memory there are.

    ``baseline`` is AttnGAN's word attention; ``memory`` adds the slots and their keys and values,
    ``write_gate`` the writing gate, ``full`` the response gate.
    """
    if config.arm == "baseline":
        if config.mask_mode != "aligned":
            raise ConfigError('`generator.mask_mode` "release" needs a memory; the arm "baseline" has none')
        return WordAttention(config.channels, config.word_dim)
    if config.arm not in ("memory", "write_gate", "full"):
        raise ConfigError(f"`generator.arm` must be baseline, memory, write_gate or full, got {config.arm!r}")
    return DynamicMemory(
        config.channels,
        config.word_dim,
        write_gate=config.arm in ("write_gate", "full"),
        response_gate=config.arm == "full",
        mask_mode=config.mask_mode,
    )


class ImageHead(nn.Sequential):
    """Features (B, C, H, W) → an image (B, 3, H, W) in [-1, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, 3, 3, padding=1, bias=False), nn.Tanh())


@contextmanager
def _keeping_buffers(module: nn.Module) -> Iterator[None]:
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:  # the second pass is broken off by an exception once it has what it needs
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)


def _statistics_once(stage: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    # The second pass of a checkpointed stage would move BatchNorm's running statistics a second time.
    return nullcontext(), _keeping_buffers(stage)


class Generator(nn.Module):
    """Captions' features and noise → images, coarse to fine.

    ``checkpoint_activations`` (False) recomputes each refinement in the backward pass instead of keeping its
    activations: the same gradients and statistics, less memory, more time.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False
        self.conditioning = ConditioningAugmentation(config.word_dim, config.condition_dim)
        self.initial = InitialStage(
            config.condition_dim, config.noise_dim, config.channels, size=config.first_size
        )
        self.refinements = nn.ModuleList(
            RefinementStage(
                config.channels,
                config.word_dim,
                memory=build_memory(config),
                residual_blocks=config.residual_blocks,
            )
            for _ in range(config.refinements)
        )
        self.heads = nn.ModuleList(ImageHead(config.channels) for _ in range(config.refinements + 1))

    def forward(
        self,
        noise: Tensor,
        sentence: Tensor,
        words: Tensor,
        word_mask: Tensor | None = None,
        *,
        condition_noise: Tensor | None = None,
        return_attention: bool = False,
    ) -> GeneratorOutput:
        """``noise`` (B, Z), ``sentence`` (B, E), ``words`` (B, L, E), ``word_mask`` (B, L) → images.

        ``condition_noise`` (B, condition_dim) fixes the conditioning augmentation's noise, so that the same
        input draws the same images; None draws it. ``attention`` is None unless ``return_attention``.
        """
        features, mu, logvar = self._first(noise, sentence, condition_noise)
        images, maps = [self.heads[0](features)], []
        for stage, head in zip(self.refinements, self.heads[1:]):
            if self.checkpoint_activations and self.training and torch.is_grad_enabled():
                stage = partial(
                    checkpoint, stage, use_reentrant=False, context_fn=partial(_statistics_once, stage)
                )
            features, attention = stage(features, words, word_mask, return_attention=return_attention)
            images.append(head(features))
            maps.append(attention)
        return GeneratorOutput(images, maps if return_attention else None, mu, logvar)

    @torch.no_grad()
    def inspect(
        self,
        noise: Tensor,
        sentence: Tensor,
        words: Tensor,
        word_mask: Tensor | None = None,
        *,
        condition_noise: Tensor | None = None,
    ) -> Inspection:
        """The same images as :meth:`forward`, with attention and both gates of every refinement."""
        features, mu, logvar = self._first(noise, sentence, condition_noise)
        images, maps, writes, responses = [self.heads[0](features)], [], [], []
        for stage, head in zip(self.refinements, self.heads[1:]):
            write = response = None
            if isinstance(stage.memory, DynamicMemory):
                _, write, response = stage.memory.inspect(features, words, word_mask)
            features, attention = stage(features, words, word_mask, return_attention=True)
            images.append(head(features))
            maps.append(attention)
            writes.append(write)
            responses.append(response)
        return Inspection(images, maps, mu, logvar, writes, responses)

    def _first(
        self, noise: Tensor, sentence: Tensor, condition_noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if noise.ndim != 2 or noise.shape[1] != self.config.noise_dim:
            raise ValueError(f"`noise` must be (B, {self.config.noise_dim}), got {tuple(noise.shape)}")
        condition, mu, logvar = self.conditioning(sentence, noise=condition_noise)
        return self.initial(condition, noise), mu, logvar
