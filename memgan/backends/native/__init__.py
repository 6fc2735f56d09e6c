"""Fused kernels behind the same functions as the definition.

Importing this loads nothing and builds nothing; the first call that could use a kernel does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memgan.backends.native import loader
from memgan.backends.native.functions import memory_read, memory_refine, memory_write

__all__ = ["memory_read", "memory_refine", "memory_write", "unavailable_reason", "unsupported_reason"]

CPU_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def unavailable_reason() -> str | None:
    """Why no kernel can run in this process at all; None: the library is loaded."""
    return loader.load()


def unsupported_reason(op: str, *args: Any, **kwargs: Any) -> str | None:
    """Why the kernel of ``op`` cannot take these arguments; None: it can. Without arguments: whether it is there."""
    tensors = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)]
    if tensors:
        features = tensors[0]
        if features.device.type != "cpu":
            return f"there is no kernel for {features.device.type} tensors"
        if features.dtype not in CPU_DTYPES:
            return f"the CPU kernels take float32, float64 and bfloat16, not {features.dtype}"
    if op == "memory_write" and len(args) + len(kwargs) > 1:
        gate = args[6] if len(args) > 6 else kwargs.get("gate_word")
        if gate is None or gate.shape[0] != 1:
            return "a write without a gate, or with one a memory channel, has no fused kernel"
    return loader.load()
