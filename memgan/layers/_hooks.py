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


def must_be_called(*layers: nn.Module) -> bool:
    """Whether calling one of ``layers`` is more than applying its weights: it has hooks, or a forward of its own."""
    return hooked(*layers) or any(
        type(layer).forward not in PLAIN or "forward" in layer.__dict__ for layer in layers
    )
