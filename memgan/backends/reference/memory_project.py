"""Key and value projection: what pixels compare themselves with, and what they read."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def memory_project(
    memory: Tensor,  # (B, L, M)
    key_weight: Tensor,  # (C, M)
    key_bias: Tensor,  # (C,)
    value_weight: Tensor,  # (D, M)
    value_bias: Tensor,  # (D,)
) -> tuple[Tensor, Tensor]:  # (B, L, C), (B, L, D)
    """``k = relu(M_k m)`` and ``v = relu(M_v m)``."""
    keys, values = F.linear(memory, key_weight, key_bias), F.linear(memory, value_weight, value_bias)
    return torch.relu(keys), torch.relu(values)
