"""Hooks: whoever computes with a child's weights, instead of calling it, does not run them."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.module import _has_any_global_hook


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
