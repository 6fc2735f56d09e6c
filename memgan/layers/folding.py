"""BatchNorm of a frozen network folded into the layer before it."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

# A module whose children are applied in pairs says so in a class attribute of this name:
# ``norms_follow = {"conv1": "norm1"}``. Neighbours in an nn.Sequential are found without.
ATTRIBUTE = "norms_follow"


def fold_batchnorm(module: AnyModule) -> AnyModule:
    r"""A frozen copy of ``module`` in eval mode, each BatchNorm folded into the layer before it.

    In eval mode BatchNorm is an affine map of each channel, so a convolution or a linear layer before it can
    absorb it,

    .. math:: w' = w \, \gamma / \sqrt{\sigma^2 + \epsilon}, \qquad
              b' = \beta + (b - \mu) \, \gamma / \sqrt{\sigma^2 + \epsilon}

    computed in float64. The copy draws the same images (to rounding) with one pass over memory less for each
    BatchNorm. It has other state-dict keys and no gradients of its own parameters: it is for sampling, and for
    frozen networks inside a loss. Gradients of its input are those of the original. ``module`` is unchanged.

    Pairs are those of this package's blocks, neighbours in an ``nn.Sequential``, and those that a module's class
    names in ``norms_follow = {"conv": "norm"}``. A BatchNorm elsewhere, or without running statistics, stays.

    >>> block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    >>> fold_batchnorm(block)
    Sequential(
      (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): Identity()
      (2): ReLU()
    )
    """
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    for part in copied.modules():
        for before, norm in _pairs(part):
            if _fold(getattr(part, before), getattr(part, norm)):
                setattr(part, norm, nn.Identity())
    return copied


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    names = [name for name, _ in module.named_children()]
    pairs = list(zip(names, names[1:])) if type(module).forward is nn.Sequential.forward else []
    named: dict[str, str] = getattr(type(module), ATTRIBUTE, {})
    return pairs + list(named.items())


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> bool:
    if not isinstance(norm, NORMS) or norm.running_mean is None or norm.running_var is None:
        return False
    # Subclasses may compute their weight at each call (spectral norm), and transposed convolutions keep the
    # channels elsewhere.
    if type(layer) not in (nn.Conv1d, nn.Conv2d, nn.Linear):
        return False
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double()
    if norm.affine:
        scale = scale * norm.weight.double()
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    if bias is not None:
        shift = shift + bias.double()
    shift = shift * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    weight.copy_(weight.double() * scale.view(-1, *[1] * (weight.ndim - 1)))
    layer.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)
    return True
