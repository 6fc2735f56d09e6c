"""Released discriminators (64, 128 or 256 pixels) → our :class:`Discriminator`."""

from __future__ import annotations

import torch

from reference_models.dmgan.config import DiscriminatorConfig
from reference_models.dmgan.discriminator import Discriminator
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.released.state import Source, fill, read_state, shape_of

WHAT = "discriminator"
_FIRST = ("img_code_s16.0", "img_code_s16.2", "img_code_s16.4", "img_code_s16.6")
# The release's convolutions in the order of ours, for each image size.
CONVOLUTIONS = {
    64: _FIRST,
    128: (*_FIRST, "img_code_s32.0", "img_code_s32_1.0"),
    256: (*_FIRST, "img_code_s32.0", "img_code_s64.0", "img_code_s64_1.0", "img_code_s64_2.0"),
}
_SPECTRAL = {
    "module.weight_bar": "weight",
    "module.weight_u": "weight_u",
    "module.weight_v": "weight_v",
    "module.bias": "bias",
}


def names(size: int) -> dict[str, str]:
    """Released key → ours, for the discriminator of ``size`` pixels."""
    table = {}
    convolutions = {f"convolutions.{i}": released for i, released in enumerate(CONVOLUTIONS[size])}
    for ours, released in (convolutions | {"joint": "COND_DNET.jointConv.0"}).items():
        table |= {f"{released}.{theirs}": f"{ours}.{mine}" for theirs, mine in _SPECTRAL.items()}
    heads = {"conditional": "COND_DNET", "unconditional": "UNCOND_DNET"}
    for ours, released in heads.items():
        for entry in ("weight", "bias"):
            table[f"{released}.outlogits.0.{entry}"] = f"{ours}.{entry}"
    return table


def load_discriminator(source: Source) -> Discriminator:
    """A released ``netD{0,1,2}.pth`` (a path or its state dict) as a :class:`Discriminator` in eval mode.

    The image size is told from the layers, the widths from their shapes. As in the release, each forward pass
    moves the estimate of the spectral norm, in eval mode too.
    """
    state = read_state(source, WHAT)
    width, channels, *_ = shape_of(state, "img_code_s16.0.module.weight_bar", 4, WHAT)
    _, joined, *_ = shape_of(state, "COND_DNET.jointConv.0.module.weight_bar", 4, WHAT)
    if channels != 3 or joined <= 8 * width:
        raise CheckpointError(
            f"released {WHAT}: cannot tell its sizes from {channels} image channels, width {width} and "
            f"{joined} joint channels"
        )
    if any(key.startswith("img_code_s64.") for key in state):
        size = 256
    elif any(key.startswith("img_code_s32.") for key in state):
        size = 128
    else:
        size = 64
    with torch.device("meta"):
        network = Discriminator(size, DiscriminatorConfig(width=width, word_dim=joined - 8 * width))
    return fill(network, state, names(size), f"{size}-pixel {WHAT}")
