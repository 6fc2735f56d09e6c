"""Which children must be called: whoever computes with their weights instead runs neither hooks nor their forward."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

PLAIN = (nn.Linear.forward, nn.Conv2d.forward)


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody hooked into calls of ``module``."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def hooked(*modules: nn.Module | None) -> bool:
    """Whether somebody hooked into calls of one of ``modules``, or of all modules; None has no hooks."""
    return bool(_has_any_global_hook()) or any(has_hooks(one) for one in modules if one is not None)


def replaced(part: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``part`` computes something else than ``kind`` does: it has a forward of its own."""
    return type(part).forward is not kind.forward or "forward" in part.__dict__


def must_be_called(*layers: nn.Module, bias: bool | None = None) -> bool:
    """Whether calling one of ``layers`` is more than applying its weight as this package's layers are applied.

    It has hooks, a forward of its own, a bias where ``bias`` says that there is none or the other way round, or it is
    another convolution than 3x3 with a margin of one zero.
    """
    return hooked(*layers) or any(not _is_plain(layer, bias) for layer in layers)


def _is_plain(layer: nn.Module, bias: bool | None) -> bool:
    if type(layer).forward not in PLAIN or "forward" in layer.__dict__:
        return False
    if isinstance(layer, nn.Conv2d) and not (
        layer.kernel_size == (3, 3)
        and layer.stride == layer.padding == layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
    ):
        return False
    return bias is None or (layer.bias is not None) == bias
