"""New weights follow the release's rule, in every network that is made from it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reference_models.dmgan.config import DiscriminatorConfig, GeneratorConfig
from reference_models.dmgan.discriminator import Discriminator
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.initialisation import initialise


def _is_orthogonal(weight: torch.Tensor) -> bool:
    matrix = weight.flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return torch.allclose(gram, torch.eye(len(gram)), atol=1e-4)


@pytest.mark.parametrize("arm", ["baseline", "full"])
def test_generator(arm: str) -> None:
    config = GeneratorConfig(
        channels=4, noise_dim=5, condition_dim=6, word_dim=8, first_size=16, residual_blocks=1, arm=arm
    )
    network = initialise(Generator(config))
    matrices = {name: p for name, p in network.named_parameters() if p.ndim >= 2}
    assert len(matrices) >= 15
    assert [name for name, p in matrices.items() if not _is_orthogonal(p.detach())] == []
    assert not network.conditioning.linear.bias.any()
    if arm == "full":
        assert network.refinements[0].memory.reader.key.bias.any()
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    weights = torch.cat([part.weight.detach() for part in norms])
    assert not any(part.bias.any() for part in norms)
    assert weights.mean().item() == pytest.approx(1, abs=0.01)
    assert weights.std().item() == pytest.approx(0.02, rel=0.3)


def test_discriminator() -> None:
    network = initialise(Discriminator(32, DiscriminatorConfig(width=2, word_dim=6)))
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    assert len(weights) == 7
    assert all(_is_orthogonal(p.detach()) for p in weights)
