"""The stored real set: moments of 50,000 real images' features and 10,000 of the features themselves.

Axis letters: I images, F features.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.metrics import FeatureMoments
from reference_models.dmgan.state_file import read_facts

SAMPLE = 10_000


@dataclass(frozen=True)
class Reference:
    """Real images as SceneNet sees them."""

    moments: FeatureMoments
    sample: Tensor  # (I, F) float32, in random order: any beginning of it is a fair sample
    facts: dict[str, Any]  # split, seed, count, scene network's sha256, renderer

    @classmethod
    def of(cls, features: Tensor, facts: dict[str, Any], sample: int = SAMPLE) -> Reference:
        """From the features (I, F) of all reference images, in random order."""
        moments = FeatureMoments(features.shape[1]).update(features)
        return cls(moments, features[:sample].half().float(), {**facts, "count": len(features)})

    def save(self, path: Path) -> None:
        """Write ``<path>.safetensors`` (features as float16) and ``<path>.json``."""
        from safetensors.torch import save_file

        tensors = {
            "mean": self.moments.mean,
            "scatter": self.moments.scatter,
            "sample": self.sample.half().contiguous(),
        }
        with write_atomically(path.with_suffix(".safetensors")) as temporary:
            save_file(tensors, temporary)
            temporary.chmod(0o644)
        with write_atomically(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(self.facts, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path, *, scene_sha256: str) -> Reference:
        """Read what :meth:`save` wrote; features of another SceneNet are refused."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        stored = path.with_suffix(".safetensors")
        if not stored.exists():
            raise FileNotFoundError(
                f"{stored} is missing; make it with `python -m reference_models.dmgan evaluate reference`"
            )
        facts = read_facts(path.with_suffix(".json"))
        if facts["scene_sha256"] != scene_sha256:
            raise CheckpointError(
                f"{stored} was made with the SceneNet {facts['scene_sha256'][:12]}..., the one in use is "
                f"{scene_sha256[:12]}...: run `evaluate reference` again"
            )
        try:
            tensors = load_file(stored)
        except SafetensorError as error:
            raise CheckpointError(f"{stored} is truncated or damaged ({error})") from error
        moments = FeatureMoments(len(tensors["mean"]))
        moments.count = facts["count"]
        moments.mean, moments.scatter = tensors["mean"], tensors["scatter"]
        return cls(moments, tensors["sample"].float(), facts)
