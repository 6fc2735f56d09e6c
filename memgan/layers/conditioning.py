"""Conditioning augmentation (StackGAN, section 3.2): a smooth distribution around each sentence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memgan.layers.blocks import GLU
from memgan.ops._checks import check_shape


class ConditioningAugmentation(nn.Module):
    """Sentence → a sample of ``N(mu, exp(logvar))``: Linear(E → 4c), GLU, split into mu and logvar.

    Source: StackGAN, section 3.2.

    Args:
        word_dim: E of the sentence.
        condition_dim: c of the condition.

    >>> condition, mu, logvar = ConditioningAugmentation(8, 5)(torch.zeros(2, 8))
    >>> condition.shape, mu.shape, logvar.shape
    (torch.Size([2, 5]), torch.Size([2, 5]), torch.Size([2, 5]))
    """

    def __init__(self, word_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(word_dim, 4 * condition_dim)
        self.glu = GLU()

    def forward(self, sentence: Tensor, *, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """``sentence`` (B, E) → condition, mu and logvar, (B, c) each.

        ``noise`` (B, c) is the standard normal noise; None draws it. ``mu + noise * exp(logvar / 2)``.

        Raises:
            ShapeError: the message names the argument.
        """
        op = "ConditioningAugmentation"
        check_shape(op, "sentence", sentence, (None, self.linear.in_features), "(B, E)")
        mu, logvar = self.glu(self.linear(sentence)).chunk(2, dim=1)
        if noise is None:
            noise = torch.randn_like(mu)
        check_shape(op, "noise", noise, tuple(mu.shape), "(B, c)")
        return mu + noise.to(mu.dtype) * torch.exp(0.5 * logvar), mu, logvar
