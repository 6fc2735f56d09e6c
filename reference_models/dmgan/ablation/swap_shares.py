"""What the judge says of word swaps, as shares with intervals.

Axis letters: P pairs, A attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference_models.dmgan.ablation.swap_captions import WordSwap
from reference_models.dmgan.data.birds.attributes import ATTRIBUTES, A

GOALS = {"new_colour": 0.70, "others_kept": 0.90}
RESAMPLES = 2000


@dataclass(frozen=True)
class Answers:
    """What the judge sees, (P, A) each."""

    before: np.ndarray
    after: np.ndarray


def swap_block(pairs: Sequence[WordSwap], seen: Answers, seed: int) -> dict[str, Any]:
    """The shares of a colour swap, each with a 95 % interval from resampled species.

    ``new_colour``: the named part has the new colour; ``old_colour``: it still has the one it was drawn with before
    (where that was not the new one). ``others_kept``: of the other attributes that the caption names, the judge's
    answer is the same before and after; ``others_right``: after the swap it is what the caption asks for.
    """
    rows = np.arange(len(pairs))
    part = np.array([pair.attribute for pair in pairs])
    value = np.array([pair.value for pair in pairs])
    others = _mentioned(pairs)
    others[rows, part] = False
    truth = np.stack([pair.attributes for pair in pairs])
    new = (seen.after[rows, part] == value)[:, None]
    old = (seen.after[rows, part] == seen.before[rows, part])[:, None]
    asked = np.ones((len(pairs), 1), dtype=bool)
    changed = (seen.before[rows, part] != value)[:, None]
    kinds = np.array([pair.species for pair in pairs])
    per_part = {
        ATTRIBUTES[index].name: share(new[part == index], asked[part == index], kinds[part == index], seed)
        for index in np.unique(part)
    }
    return {
        "new_colour": share(new, asked, kinds, seed),
        "old_colour": share(old, changed, kinds, seed),
        "others_kept": share(seen.after == seen.before, others, kinds, seed),
        "others_right": share(seen.after == truth, others, kinds, seed),
        "others_right_before": share(seen.before == truth, others, kinds, seed),
        "new_colour_by_part": per_part,
    }


def control_block(pairs: Sequence[WordSwap], seen: Answers, seed: int) -> dict[str, Any]:
    """The shares of a synonym swap: nothing should change, neither the named part nor the others."""
    kinds = np.array([pair.species for pair in pairs])
    part = np.zeros((len(pairs), A), dtype=bool)
    part[np.arange(len(pairs)), [pair.attribute for pair in pairs]] = True
    value = np.array([pair.value for pair in pairs])[:, None]
    return {
        "named_kept": share(seen.after == seen.before, part, kinds, seed),
        "new_colour": share(seen.after == value, part, kinds, seed),
        "others_kept": share(seen.after == seen.before, _mentioned(pairs) & ~part, kinds, seed),
    }


def share(right: np.ndarray, asked: np.ndarray, kinds: np.ndarray, seed: int) -> dict[str, Any]:
    """The share of ``asked`` (P, any) that is ``right``; the interval resamples species ``kinds`` (P,)."""
    _, row = np.unique(kinds, return_inverse=True)
    hits, questions = (
        np.bincount(row, weights=(mask & asked).sum(1)) for mask in (right, np.ones_like(right))
    )
    total = questions.sum()
    if not total:
        return {"value": float("nan"), "interval": [float("nan")] * 2, "count": 0}
    chosen = np.random.default_rng(seed).integers(0, len(hits), (RESAMPLES, len(hits)))
    draws = hits[chosen].sum(1) / np.maximum(questions[chosen].sum(1), 1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": float(hits.sum() / total), "interval": [float(low), float(high)], "count": int(total)}


def goals(swap: dict[str, Any]) -> dict[str, Any]:
    """What a model is asked to reach, and whether the block of its colour swaps does."""
    return {
        name: {"value": swap[name]["value"], "asked": asked, "reached": swap[name]["value"] >= asked}
        for name, asked in GOALS.items()
    }


def moved(before: np.ndarray, after: np.ndarray) -> float:
    """How far a pixel moves on average, in 8-bit levels."""
    return float(np.abs(after.astype(np.int16) - before).mean())


def lines(result: dict[str, Any]) -> list[str]:
    """A result for the terminal."""
    names = {
        "new_colour": "the named part has the new colour",
        "others_kept": "other mentioned attributes stay",
        "named_kept": "the named part stays",
    }
    text = [f"{result['protocol']['count']} swaps of {result['protocol']['species']} held-out species"]
    for block, title in (
        ("swap", "colour swap"),
        ("control", "control: a synonym"),
        ("real", "real birds, swapped"),
    ):
        for name, meaning in names.items():
            if (found := result["scores"][block].get(name)) and not (
                block == "control" and name == "new_colour"
            ):
                low, high = found["interval"]
                text.append(f"  {title:20s} {meaning:36s} {found['value']:6.1%} [{low:.1%}, {high:.1%}]")
    for name, goal in result["goals"].items():
        text.append(
            f"  {'reached' if goal['reached'] else 'NOT reached'}: {names[name]}, asked {goal['asked']:.0%}"
        )
    return text


def _mentioned(pairs: Sequence[WordSwap]) -> np.ndarray:
    mentioned = np.zeros((len(pairs), A), dtype=bool)
    for row, pair in enumerate(pairs):
        mentioned[row, list(pair.mentioned)] = True
    return mentioned
