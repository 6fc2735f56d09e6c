"""The judge: which value has each attribute of the bird?

It trains on birds whose attributes are independent and uniform, so no attribute says anything of another: to
answer "beak colour" it has to look at the beak. (A judge trained on species answered from the rest of the
bird, and still did when the beak was gone.) It scores finished models only: it never trains one and never
chooses a checkpoint.

Axis letters: B batch, A attributes, C channels, P positions of the feature map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.evaluation.blocks import Residual, convolution

SIZE = 64  # pixels of the images that the evaluation networks see


class Judge(nn.Module):
    """Images (B, 3, 64, 64) in [-1, 1] → one row of logits (B, values) per attribute.

    Each attribute has its own attention over a 16 x 16 map: a head reads the place where its part is.
    """

    def __init__(self, values: Sequence[int], width: int = 32) -> None:
        super().__init__()
        self.values, self.width = tuple(values), width
        self.fine = nn.Sequential(
            nn.PixelUnshuffle(2),  # 32 x 32: half the cost of a convolution at 64, and no pixel is lost
            convolution(12, width),
            Residual(width),
            convolution(width, 2 * width, stride=2),
            Residual(2 * width),
        )
        self.coarse = nn.Sequential(convolution(2 * width, 3 * width, stride=2), Residual(3 * width))
        self.join = convolution(5 * width, 3 * width)
        self.attention = nn.Conv2d(3 * width, len(self.values), 1)
        self.heads = nn.ModuleList(nn.Linear(3 * width, count) for count in self.values)

    def settings(self) -> dict[str, object]:
        """What the constructor needs to build this network again."""
        return {"values": list(self.values), "width": self.width}

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.fine(images)
        coarse = F.interpolate(self.coarse(fine), scale_factor=2.0, mode="nearest")
        features = self.join(torch.cat([fine, coarse], 1))  # (B, C, 16, 16)
        weights = self.attention(features).flatten(2).float().softmax(-1)  # (B, A, P)
        read = torch.einsum("bap,bcp->bac", weights, features.flatten(2).float())
        return [head(read[:, index]) for index, head in enumerate(self.heads)]

    @torch.no_grad()
    def answers(self, images: Tensor) -> Tensor:
        """The most probable value of each attribute, (B, A) int64."""
        return torch.stack([logits.argmax(1) for logits in self(images)], 1)
