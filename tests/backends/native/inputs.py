"""Inputs of the fused ops, and the definition in float64 that they are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import memgan
from memgan.backends import reference


@dataclass
class Inputs:
    """Arguments of ``memory_refine``; ``memory_read`` takes the first four."""

    features: Tensor
    keys: Tensor
    values: Tensor
    mask: Tensor | None
    weight: Tensor
    bias: Tensor
    scale: float = 0.7

    @classmethod
    def random(
        cls,
        batch: int = 2,
        channels: int = 5,
        height: int = 7,
        width: int = 11,
        words: int = 13,
        *,
        dtype: torch.dtype = torch.float64,
        value_channels: int | None = None,
        masked: bool = True,
        channels_last: bool = False,
        seed: int = 0,
    ) -> Inputs:
        made = torch.Generator().manual_seed(seed)

        def normal(*size: int) -> Tensor:
            return torch.randn(*size, generator=made, dtype=torch.float64).to(dtype)

        features = normal(batch, channels, height, width)
        if channels_last:
            features = features.contiguous(memory_format=torch.channels_last)
        return cls(
            features,
            normal(batch, words, channels),
            normal(batch, words, value_channels or channels),
            torch.rand(batch, words, generator=made) > 0.3 if masked else None,
            normal(1, 2 * channels) * 0.3,
            normal(1),
        )

    def floating(self, op: str) -> tuple[Tensor, ...]:
        tensors = (self.features, self.keys, self.values)
        return tensors if op == "memory_read" else (*tensors, self.weight, self.bias)

    def arguments(self, op: str, tensors: tuple[Tensor, ...] | None = None) -> tuple[Tensor | None, ...]:
        features, keys, values, *gate = tensors or self.floating(op)
        return (features, keys, values, self.mask, *gate)

    def call(
        self, op: str, tensors: tuple[Tensor, ...] | None = None, *, attention: bool = True
    ) -> tuple[Tensor, ...]:
        """The public function, as a tuple of tensors."""
        function = getattr(memgan, op)
        result = function(*self.arguments(op, tensors), scale=self.scale, return_attention=attention)
        return tuple(part for part in result if part is not None)

    def exact(self, op: str) -> tuple[Inputs, tuple[Tensor, ...]]:
        """The same numbers in float64, and what the definition makes of them."""
        wide = Inputs(
            *(
                t if t is None or t.dtype == torch.bool else t.detach().double().requires_grad_()
                for t in (self.features, self.keys, self.values, self.mask, self.weight, self.bias)
            ),
            scale=self.scale,
        )
        return wide, wide.defined(op)

    def defined(self, op: str) -> tuple[Tensor, ...]:
        """What the definition makes of these tensors, in their own dtype."""
        result: tuple[Tensor, ...] = getattr(reference, op)(
            *self.arguments(op), scale=self.scale, return_attention=True
        )
        return result


def gradients(results: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Of ``inputs`` behind ``results``, whose gradients are the same numbers on every device and in every dtype."""
    made = torch.Generator().manual_seed(5)
    given = [torch.randn(r.shape, generator=made, dtype=torch.float64).to(r) for r in results]
    return torch.autograd.grad(results, inputs, given)


def error(result: Tensor, exact: Tensor) -> float:
    """The root mean square of the error, as a share of that of the values.

    Not the largest error: of two computations that are as exact, one's largest is twice the other's every few seeds.
    """
    if not exact.numel():
        return 0.0
    exact = exact.detach()
    wrong = result.detach().double() - exact
    return float(wrong.square().mean().sqrt() / exact.square().mean().sqrt().clamp_min(1e-30))
