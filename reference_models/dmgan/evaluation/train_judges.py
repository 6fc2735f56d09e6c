"""``evaluate train-judges``: makes the three evaluation networks, and writes how each was made and how good
it is.

Seeds, pools and steps are fixed per network, so the command gives the same networks again (to rounding).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from reference_models.dmgan.data.birds.attributes import NAMES, SIZES
from reference_models.dmgan.data.birds.captions import WORDS, caption
from reference_models.dmgan.data.birds.render import VERSION
from reference_models.dmgan.data.birds.scene import SCENE_TARGETS
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.evaluation import losses
from reference_models.dmgan.evaluation.features import SceneNet
from reference_models.dmgan.evaluation.fitting import Fit, fit
from reference_models.dmgan.evaluation.images import network_input
from reference_models.dmgan.evaluation.judge import SIZE, Judge
from reference_models.dmgan.evaluation.pools import Pool, pool
from reference_models.dmgan.evaluation.retrieval import Retrieval
from reference_models.dmgan.evaluation.store import half_rounded, save_network
from reference_models.dmgan.metrics import r_precision

HELD_OUT = 4000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one network is made."""

    seed: int  # of its renders, its weights and the order of its images
    images: int
    steps: int
    batch_size: int
    erase_share: float = 0.0


PLANS = {
    "judge": Plan(seed=9_011, images=40_000, steps=1_500, batch_size=64, erase_share=0.15),
    "scene": Plan(seed=9_012, images=30_000, steps=2_500, batch_size=64),
    "retrieval": Plan(seed=9_013, images=20_000, steps=1_000, batch_size=128),
}


def train_judges(
    out: Path,
    *,
    only: Sequence[str] = tuple(PLANS),
    minutes: float = 0.0,
    images: int = 0,
    command: str = "",
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Train, measure on held-out renders, and write each network to ``out``; returns their facts.

    Args:
        minutes: of training per network, rendering not counted; 0: the fixed steps of ``PLANS``.
        images: of each pool; 0: as in ``PLANS``.
        command: what the user typed, for the JSON files.
    """
    unknown = set(only) - set(PLANS)
    if unknown:
        raise ConfigError(f"`only` must hold {', '.join(PLANS)}, got {sorted(unknown)[0]!r}")
    results = {}
    for name in only:
        start = time.monotonic()
        plan = PLANS[name]
        count = images or plan.images
        say(f"{name}: drawing {count} birds")
        renders = pool(plan.seed, count, erase_share=plan.erase_share, say=say)
        held_out = pool(plan.seed + 1000, min(HELD_OUT, count), say=say)
        drawn = time.monotonic() - start
        torch.manual_seed(plan.seed)
        network, loss = build(name, renders)
        settings = Fit(
            minutes=minutes, steps=0 if minutes else plan.steps, batch_size=plan.batch_size, seed=plan.seed
        )
        facts = fit(network, loss, count, settings, lambda text, name=name: say(f"{name}: {text}"))  # type: ignore[misc]
        half_rounded(network.eval())
        facts |= {
            "pool_images": count,
            "erase_share": plan.erase_share,
            "image_size": SIZE,
            "renderer_version": VERSION,
            "render_seconds": round(drawn, 1),
            "command": command,
            "held_out": measure(network, held_out),
        }
        digest = save_network(name, network, out, facts)
        say(f"{name}: {facts['held_out']} sha256 {digest[:12]} in {facts['seconds']} s")
        results[name] = facts
    return results


def build(name: str, renders: Pool) -> tuple[nn.Module, losses.Loss]:
    """A fresh network and what it is trained to do."""
    if name == "judge":
        return Judge(SIZES), losses.judge_loss(renders)
    if name == "scene":
        return SceneNet(SIZES, len(SCENE_TARGETS)), losses.scene_loss(renders)
    return Retrieval(("<end>", *WORDS), SIZES), losses.retrieval_loss(renders, describe)


def describe(attributes: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """One caption of a bird, and which attributes (A,) bool it names."""
    said = caption(attributes, rng)
    mentioned = np.zeros(len(NAMES), dtype=bool)
    mentioned[list(said.mentioned)] = True
    return said.text, mentioned


@torch.no_grad()
def measure(network: nn.Module, held_out: Pool) -> dict[str, Any]:
    """Figures on renders that the network has not seen."""
    parts = np.array_split(np.arange(len(held_out)), max(1, len(held_out) // 250))
    truth = torch.from_numpy(held_out.attributes)
    if isinstance(network, Judge):
        answers = torch.cat([network.answers(network_input(held_out.images[rows])) for rows in parts])
        accuracy = (answers == truth).double().mean(0)
        table = {name: round(float(value), 4) for name, value in zip(NAMES, accuracy)}
        return {"macro_accuracy": round(float(accuracy.mean()), 4), "accuracy": table}
    if isinstance(network, SceneNet):
        outputs = [network(network_input(held_out.images[rows])) for rows in parts]
        scene = torch.cat([output.scene for output in outputs])
        target = torch.from_numpy(held_out.scenes)
        explained = 1 - (scene - target).square().mean(0) / target.var(0)
        right = [
            torch.cat([output.attributes[i].argmax(1) for output in outputs]) == truth[:, i]
            for i in range(len(NAMES))
        ]
        return {
            "explained_variance": {k: round(float(v), 4) for k, v in zip(SCENE_TARGETS, explained)},
            "attribute_accuracy": round(float(torch.stack(right).double().mean()), 4),
        }
    assert isinstance(network, Retrieval)
    rng = np.random.default_rng(0)
    texts = [describe(row, rng)[0] for row in held_out.attributes[:1000]]
    starts = range(0, len(texts), 250)
    codes = torch.cat([network.image(network_input(held_out.images[i : i + 250])) for i in starts])
    codes = codes[: len(texts)]
    captions = network.caption(*network.encode_texts(texts))
    others = torch.from_numpy(rng.integers(1, len(texts), (len(texts), 99)))
    others = (others + torch.arange(len(texts))[:, None]) % len(texts)
    score = r_precision(codes, captions, captions[others])
    return {"r_precision": round(score.mean, 4), "distractors": "99 captions of other birds, unchecked"}
