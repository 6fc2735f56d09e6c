"""Hooks: whoever computes with a child's weights, instead of calling it, does not run them."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.module import _has_any_global_hook


def hooked(*modules: nn.Module | None) -> bool:
    """Whether somebody hooked into calls of one of ``modules``, or of all modules; None has no hooks."""
    return bool(_has_any_global_hook()) or any(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        for module in modules
        if module is not None
    )
