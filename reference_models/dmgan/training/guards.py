"""Stop a run that has gone wrong, with a sentence that says what was seen."""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

from reference_models.dmgan.errors import TrainingStopped

PATIENCE = 20  # steps, or looks, in a row
FLAT = 0.02  # of the real images' diversity


def diversity(images: Tensor) -> float:
    """How much the images of a batch (B, 3, S, S) differ: mean over pixels of the deviation over the batch."""
    return float(images.float().std(0).mean())


class Guards:
    """Counts non-finite steps and looks whose fakes are all alike; raises :class:`TrainingStopped` after too many."""

    def __init__(self, skipped: int = 0) -> None:
        self.skipped = skipped  # over the whole run, kept in checkpoints
        self._in_a_row = 0
        self._flat: deque[float] = deque(maxlen=PATIENCE)

    def losses(self, step: int, values: dict[str, float]) -> bool:
        """Whether the step's losses, and the gradients that are named where they were not, were all finite."""
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if not broken:
            self._in_a_row = 0
            return True
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row >= PATIENCE:
            raise TrainingStopped(
                f"step {step}: the last {PATIENCE} steps gave losses or gradients that are not finite "
                f"({', '.join(broken)}); go on by --resume --changed with a lower learning rate or --train.precision "
                "float32, or from an earlier checkpoint: move the later files away"
            )
        return False

    def collapse(self, step: int, fakes: Tensor, reals: Tensor) -> float:
        """The fakes' diversity as a share of the real images'; stops where it stays under ``FLAT``."""
        with torch.no_grad():
            share = diversity(fakes) / max(diversity(reals), 1e-8)
        self._flat.append(share)
        if len(self._flat) == PATIENCE and max(self._flat) < FLAT:
            raise TrainingStopped(
                f"step {step}: the generator has collapsed: its images differ {share:.4f} times as much as real ones "
                f"in the last {PATIENCE} looks; go on from an earlier checkpoint: move the later files away, then "
                "--resume --changed with a lower learning rate"
            )
        return share
