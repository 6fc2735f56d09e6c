"""SceneNet: a short vector that holds everything a scene was drawn from, for FID, KID, precision and recall.

It regresses all parameters of the scene (pose, place, scale, light, background), all attributes, and how an
image was damaged (blur, noise, a pattern, clipped contrast): half of its training images are damaged on
purpose, so that a distance between its features is a distance between what the pictures show and how clean
they are. Features of a network that has only seen clean pictures may well ignore a grid on top of them.

Axis letters: B batch, F features, T scene parameters, G kinds of damage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reference_models.dmgan.evaluation.blocks import Residual, convolution
from reference_models.dmgan.evaluation.damage import KINDS


class SceneOutput(NamedTuple):
    """What SceneNet says of images."""

    features: Tensor  # (B, F) float32
    scene: Tensor  # (B, T): the scene vector, each entry about [-1, 1]
    damage: Tensor  # (B, G): strengths, 0 for none, 1 for the strongest
    attributes: list[Tensor]  # logits (B, values) per attribute


class SceneNet(nn.Module):
    """Images (B, 3, 64, 64) in [-1, 1] → :class:`SceneOutput`; every head is linear in the features."""

    def __init__(self, values: Sequence[int], targets: int, features: int = 64, width: int = 32) -> None:
        super().__init__()
        self.values, self.targets, self.width = tuple(values), targets, width
        self.body = nn.Sequential(
            convolution(3, width // 2),  # at 64 x 64: fine grids and noise are seen before any halving
            convolution(width // 2, width, stride=2),
            convolution(width, 2 * width, stride=2),
            Residual(2 * width),
            convolution(2 * width, 3 * width, stride=2),
            Residual(3 * width),
            convolution(3 * width, 3 * width, stride=2),
            nn.Flatten(),  # 4 x 4 positions stay apart: where the bird is counts
        )
        self.project = nn.Linear(3 * width * 16, features)
        self.norm = nn.BatchNorm1d(features, affine=False)  # no feature outweighs another in a distance
        self.scene = nn.Linear(features, targets)
        self.damage = nn.Linear(features, len(KINDS))
        self.heads = nn.ModuleList(nn.Linear(features, count) for count in self.values)

    def settings(self) -> dict[str, object]:
        """What the constructor needs to build this network again."""
        features = self.project.out_features
        return {
            "values": list(self.values),
            "targets": self.targets,
            "features": features,
            "width": self.width,
        }

    def forward(self, images: Tensor) -> SceneOutput:
        features = self.norm(self.project(self.body(images)).float())
        attributes = [head(features) for head in self.heads]
        return SceneOutput(features, self.scene(features), self.damage(features), attributes)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """(B, F) float32."""
        return self.norm(self.project(self.body(images)).float())
