"""BatchNorm of a frozen network folded into the layer before it."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TypeVar

import torch
from torch import Tensor, nn

from memgan.errors import ShapeError
from memgan.layers._hooks import has_hooks

AnyModule = TypeVar("AnyModule", bound=nn.Module)
# Which BatchNorm a layer absorbs. Subclasses may compute their weight at each call (spectral norm), transposed
# convolutions keep the channels elsewhere, and behind a linear layer a BatchNorm2d has other channels than it.
NORM_OF: dict[type, type] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Linear: nn.BatchNorm1d,
}
# A BatchNorm1d takes two kinds of input. The channels are the layer's in one of them.
AXES_OF: dict[type, tuple[str, ...]] = {nn.Conv1d: ("B", "C", "L"), nn.Linear: ("B", "C")}

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
    names in ``norms_follow = {"conv": "norm"}``. A BatchNorm elsewhere, or without running statistics, stays. So
    does a pair of which one has hooks or a forward of its own, whose layer stands in several places, or whose sizes
    differ.

    Raises:
        ShapeError: by the copy, when it is called, if a linear layer gives its BatchNorm1d (B, C, L), whose
            channels are not the layer's. Convolutions of one dimension must give it (B, C, L).

    >>> block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    >>> fold_batchnorm(block)
    Sequential(
      (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): Identity()
      (2): ReLU()
    )
    """
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    places = Counter(id(child) for part in copied.modules() for child in part._modules.values())
    for part in copied.modules():
        for before, norm in _pairs(part):
            layer = getattr(part, before)
            if places[id(layer)] == 1 and _fold(layer, getattr(part, norm)):
                axes = AXES_OF.get(type(layer))
                setattr(part, norm, nn.Identity() if axes is None else FoldedNorm(axes))
    return copied


class FoldedNorm(nn.Identity):
    """Stands where a BatchNorm1d was folded away, and takes the input whose channels are the layer's."""

    def __init__(self, axes: tuple[str, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, input: Tensor) -> Tensor:
        """``input`` of ``axes``, unchanged."""
        if input.ndim != len(self.axes):
            raise ShapeError(
                f"fold_batchnorm: `input` of a folded BatchNorm1d must be ({', '.join(self.axes)}), "
                f"got {tuple(input.shape)}. Take the module as it was before it was folded."
            )
        return input


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    names = list(module._modules)
    if "forward" in module.__dict__:
        return []
    pairs = list(zip(names, names[1:])) if type(module).forward is nn.Sequential.forward else []
    # A class that has a forward of its own says anew what it applies in pairs.
    kinds = type(module).__mro__
    says = next((kind for kind in kinds if ATTRIBUTE in vars(kind) or "forward" in vars(kind)), object)
    named: dict[str, str] = vars(says).get(ATTRIBUTE, {})
    behind = Counter(named.values())
    return pairs + [(layer, norm) for layer, norm in named.items() if behind[norm] == 1]


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> bool:
    if type(norm) is not NORM_OF.get(type(layer)) or has_hooks(layer) or has_hooks(norm):
        return False
    if "forward" in layer.__dict__ or "forward" in norm.__dict__:
        return False
    weight, bias = layer.weight, layer.bias
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    if norm.running_mean is None or norm.running_var is None or norm.num_features != len(weight):
        return False
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double()
    if norm.affine:
        scale = scale * norm.weight.double()
    if bias is not None:
        shift = shift + bias.double()
    shift = shift * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    scaled = weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))
    layer.weight = nn.Parameter(
        scaled.to(weight.dtype), requires_grad=False
    )  # another layer may share the old one
    layer.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)
    return True
