"""One loop that trains each evaluation network: AdamW, a one-cycle rate, bf16, as many steps as fit.

The number of steps is measured from the first ones and then stored, so that ``steps`` repeats a training that
``minutes`` sized.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module, np.ndarray, np.random.Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How long and how fast; ``steps`` > 0 wins over ``minutes``."""

    minutes: float = 10.0
    steps: int = 0
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    seed: int = 0


def fit(
    network: nn.Module, loss: Loss, count: int, settings: Fit, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train ``network`` in place; ``loss(network, indices, rng)`` is the loss of those training items.

    Returns:
        Facts for the JSON file: steps, images, seconds, the last losses' mean.
    """
    rng = np.random.default_rng(settings.seed)
    network.train().to(memory_format=torch.channels_last)
    # Under accelerators' autocast this would be their device; the evaluation networks train on the CPU too.
    device = next(network.parameters()).device.type
    optimiser = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.99)
    )
    steps, start, seen, losses = settings.steps or 10**9, time.monotonic(), 0, []
    order = np.empty(0, dtype=np.int64)
    step = 0
    while step < steps:
        if step == 20 and not settings.steps:
            rate = (time.monotonic() - start) / 20
            steps = max(40, int(settings.minutes * 60 / rate))
        elif not settings.steps and step > 20 and step % 200 == 0:
            # Other work shares the cores: keep to the minutes by measuring again.
            left = settings.minutes * 60 - (time.monotonic() - start)
            steps = step + max(1, int(left / ((time.monotonic() - start) / step)))
        _set_rate(optimiser, settings.learning_rate, step / steps if step >= 20 else step / 1e4)
        if len(order) < settings.batch_size:
            order = np.concatenate([order, rng.permutation(count)])
        indices, order = order[: settings.batch_size], order[settings.batch_size :]
        with torch.autocast(device, torch.bfloat16):
            value = loss(network, indices, rng)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        losses.append(float(value.detach()))
        seen += len(indices)
        step += 1
        if step % 200 == 0 or step == 20:
            seconds = time.monotonic() - start
            say(f"step {step}/{steps} loss {np.mean(losses[-100:]):.4f} {seen / seconds:.0f} images/s")
    network.eval()
    return {
        "steps": step,
        "images_seen": seen,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
        "seconds": round(time.monotonic() - start, 1),
        "threads": torch.get_num_threads(),
        "final_loss": round(float(np.mean(losses[-100:])), 5),
    }


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, progress: float) -> None:
    """Up over the first twentieth, then down a cosine to a hundredth."""
    warm = min(1.0, progress / 0.05)
    cosine = 0.5 * (1 + np.cos(np.pi * min(1.0, max(0.0, (progress - 0.05) / 0.95))))
    for group in optimiser.param_groups:
        group["lr"] = peak * max(0.01, warm * cosine)
