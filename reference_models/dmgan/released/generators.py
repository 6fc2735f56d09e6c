"""Released generators and their refinement stages → :class:`Generator` and :class:`memgan.RefinementStage`."""

from __future__ import annotations

from typing import Literal

import torch

from memgan import RefinementStage
from reference_models.dmgan.config import GeneratorConfig
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.generator import Generator, build_memory
from reference_models.dmgan.released.state import (
    Source,
    batch_norm,
    count,
    fill,
    prefixed,
    read_state,
    shape_of,
)

GENERATOR, STAGE = "generator", "refinement stage"
MaskMode = Literal["aligned", "release"]
_MEMORY = {  # released module → ours
    "M_w.0": "memory.writer.word",
    "M_r.0": "memory.writer.image",
    "key.0": "memory.reader.key",
    "value.0": "memory.reader.value",
    "response_gate.0": "memory.response.linear",
}


def stage_names(residual_blocks: int) -> dict[str, str]:
    """Released key → ours, of one refinement stage."""
    table = {"A.weight": "memory.writer.gate_word.weight", "B.weight": "memory.writer.gate_image.weight"}
    for theirs, mine in _MEMORY.items():
        table |= {f"{theirs}.{entry}": f"{mine}.{entry}" for entry in ("weight", "bias")}
    for block in range(residual_blocks):
        theirs, mine = f"residual.{block}.block", f"residual.{block}"
        table |= {f"{theirs}.0.weight": f"{mine}.conv1.weight", f"{theirs}.3.weight": f"{mine}.conv2.weight"}
        table |= batch_norm(f"{theirs}.1", f"{mine}.norm1") | batch_norm(f"{theirs}.4", f"{mine}.norm2")
    return table | _up_block("upsample", "upsample")


def generator_names(config: GeneratorConfig) -> dict[str, str]:
    """Released key → ours, of a whole generator."""
    table = {f"ca_net.fc.{entry}": f"conditioning.linear.{entry}" for entry in ("weight", "bias")}
    table["h_net1.fc.0.weight"] = "initial.linear.weight"
    table |= batch_norm("h_net1.fc.1", "initial.norm")
    for block in range(4):  # 4x4 to 64x64
        table |= _up_block(f"h_net1.upsample{block + 1}", f"initial.upsample.{block}")
    for image in range(config.refinements + 1):
        table[f"img_net{image + 1}.img.0.weight"] = f"heads.{image}.0.weight"
    stage = stage_names(config.residual_blocks)
    for number in range(config.refinements):
        table |= prefixed(stage, f"h_net{number + 2}.", f"refinements.{number}.")
    return table


def _up_block(theirs: str, mine: str) -> dict[str, str]:
    return {f"{theirs}.1.weight": f"{mine}.conv.weight"} | batch_norm(f"{theirs}.2", f"{mine}.norm")


def build_stage(config: GeneratorConfig) -> RefinementStage:
    """One refinement of ``config``."""
    return RefinementStage(
        config.channels,
        config.word_dim,
        memory=build_memory(config),
        residual_blocks=config.residual_blocks,
    )


def load_refinement_stage(source: Source, *, mask_mode: MaskMode = "aligned") -> RefinementStage:
    """One released refinement block (keys ``A.weight``, ``M_w.0.weight``, ...) in eval mode.

    ``mask_mode="release"`` reproduces the release's mask rows: in a batch, most pixels of an image are then
    masked by a neighbour's caption, so an image depends on the batch it is in.
    """
    state = read_state(source, STAGE)
    _, word_dim = shape_of(state, "A.weight", 2, STAGE)
    _, channels = shape_of(state, "B.weight", 2, STAGE)
    config = GeneratorConfig(
        channels=channels,
        word_dim=word_dim,
        residual_blocks=count(state, "residual."),
        mask_mode=mask_mode,
    )
    with torch.device("meta"):
        network = build_stage(config)
    return fill(network, state, stage_names(config.residual_blocks), STAGE)


def load_generator(source: Source, *, mask_mode: MaskMode = "aligned") -> Generator:
    """A released ``netG_epoch_N.pth`` (a path or its state dict) as a :class:`Generator` in eval mode.

    Channels, noise, condition and word widths, the number of refinements and of residual blocks (2 for CUB, 3
    for COCO) are inferred; ``network.config`` holds them. For ``mask_mode`` see
    :func:`load_refinement_stage`.
    """
    state = read_state(source, GENERATOR)
    config = infer_generator(state, mask_mode)
    with torch.device("meta"):
        network = Generator(config)
    return fill(network, state, generator_names(config), GENERATOR)


def infer_generator(state: dict[str, torch.Tensor], mask_mode: MaskMode = "aligned") -> GeneratorConfig:
    """Every size of a released generator, from the shapes of its state dict."""
    conditions, word_dim = shape_of(state, "ca_net.fc.weight", 2, GENERATOR)
    flat, inputs = shape_of(state, "h_net1.fc.0.weight", 2, GENERATOR)
    # ca_net: mu and logvar, doubled by the GLU; h_net1.fc: 16C channels of 4x4, doubled by the GLU.
    condition_dim, rest = divmod(conditions, 4)
    channels, remainder = divmod(flat, 16 * 4 * 4 * 2)
    if rest or remainder or not condition_dim or not channels or inputs <= condition_dim:
        raise CheckpointError(
            f"released {GENERATOR}: cannot tell its sizes from 'ca_net.fc.weight' ({conditions}, {word_dim}) "
            f"and 'h_net1.fc.0.weight' ({flat}, {inputs})"
        )
    refinements = 0
    while any(key.startswith(f"h_net{refinements + 2}.") for key in state):
        refinements += 1
    return GeneratorConfig(
        channels=channels,
        noise_dim=inputs - condition_dim,
        condition_dim=condition_dim,
        word_dim=word_dim,
        first_size=64,
        refinements=refinements,
        residual_blocks=count(state, "h_net2.residual.") if refinements else 0,
        mask_mode=mask_mode,
    )
