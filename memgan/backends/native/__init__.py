"""Fused kernels behind the same functions as the definition.

Importing this loads nothing and builds nothing; the first call that could use a kernel does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memgan.backends.native import loader
from memgan.backends.native.functions import (
    memory_project,
    memory_read,
    memory_refine,
    memory_write,
    norm_glu,
)

__all__ = [
    "memory_project",
    "memory_read",
    "memory_refine",
    "memory_write",
    "norm_glu",
    "unavailable_reason",
    "unsupported_reason",
]

DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}


def unavailable_reason() -> str | None:
    """Why no kernel can run in this process at all; None: the library is loaded."""
    return loader.load()


def unsupported_reason(op: str, *args: Any, **kwargs: Any) -> str | None:
    """Why the kernel of ``op`` cannot take these arguments; None: it can. Without arguments: whether it is there."""
    features = next((arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)), None)
    if features is not None:
        device, taken = features.device, DTYPES.get(features.device.type)
        if taken is None or (device.type == "cuda" and torch.version.hip):
            return f"there is no kernel for {'ROCm' if taken else device.type} tensors"
        if features.dtype not in taken:
            *names, last = (str(dtype).removeprefix("torch.") for dtype in taken)
            return (
                f"the {device.type.upper()} kernels take {', '.join(names)} and {last}, not {features.dtype}"
            )
    if op == "memory_write" and len(args) + len(kwargs) > 1:
        gate = args[6] if len(args) > 6 else kwargs.get("gate_word")
        if gate is None or gate.shape[0] != 1:
            return "a write without a gate, or with one a memory channel, has no fused kernel"
    if op == "norm_glu" and features is not None:
        weight = args[1] if len(args) > 1 else kwargs.get("weight", features)
        if features.device.type != "cpu":
            return "on other devices than the CPU norm_glu has no fused kernel"
        if weight.dtype != torch.promote_types(features.dtype, torch.float32):
            return f"for {weight.dtype} weights of {features.dtype} images norm_glu has no fused kernel"
    if op == "memory_project" and (features is None or features.device.type == "cpu"):
        return "on the CPU torch's products are as fast: there memory_project has no fused kernel"
    if features is not None and features.device.type == "cuda":
        reason = loader.device_reason(features.device.index or 0)
        attends = op in ("memory_read", "memory_refine")
        keys = (args[1] if len(args) > 1 else kwargs.get("keys")) if attends else None
        words = 0 if keys is None else keys.shape[1]
        if reason is None and words > loader.STATE.most_words:
            reason = f"the CUDA kernels take at most {loader.STATE.most_words} words, got {words}"
        return reason
    return loader.load()
