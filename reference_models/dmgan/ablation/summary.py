"""From result lines to comparisons. What is compared, and by which number, was fixed before any result was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reference_models.dmgan.ablation.arms import ARMS, WIDE
from reference_models.dmgan.ablation.statistics import (
    bootstrap_interval,
    exact_interval,
    holm,
    permutation_p,
)
from reference_models.dmgan.ablation.training import FIRST

# The primary endpoint: how far attribute accuracy, judged on held-out species, goes from its floor (captions of
# other species) to its ceiling (real birds). Named here before any run; tests are made of this number alone.
ENDPOINT = "attributes.progress"
# Beside it, as the gate takes them: against birds of which the captions are true, the rest of them drawn freely.
BESIDE = {
    "among_answers.fid.value": "FID",
    "among_answers.precision.value": "precision",
    "among_answers.recall.value": "recall",
    "r_precision.value": "R-precision",
}
# (better, worse): what the paper claims. Each claim has a direction, so the test is one-sided.
STEPS = (("memory", "baseline"), ("write_gate", "memory"), ("full", "write_gate"))
WHOLES = (("full", "baseline"), ("full", WIDE))
RECOVERY = (("full", FIRST), ("baseline", FIRST))
FAMILIES = {
    "each part": STEPS,
    "the whole memory": WHOLES,
    "refinement of poor first images": RECOVERY,
}


@dataclass(frozen=True)
class Comparison:
    """One claim: ``better`` minus ``worse`` over the seeds that have both."""

    family: str
    better: str
    worse: str
    differences: tuple[float, ...]
    p: float  # one-sided, exact
    adjusted: float  # Holm, within the family
    least_adjusted: float  # the smallest that so many pairs of each claim of the family can give
    p_two_sided: float
    bootstrap: tuple[float, float]  # 95 %
    exact: tuple[float, float, float]  # low, high, coverage

    @property
    def mean(self) -> float:
        """The mean difference."""
        return float(np.mean(self.differences))


@dataclass(frozen=True)
class ArmRow:
    """One arm over its seeds; values are (mean, standard deviation), the deviation NaN for one seed."""

    run: str
    seeds: tuple[int, ...]
    endpoint: tuple[float, float]
    beside: dict[str, tuple[float, float]]
    images_per_second: float | None


def number(line: dict[str, Any], name: str) -> float:
    """A score of a result line by its dotted name."""
    value: Any = line["scores"]
    for part in name.split("."):
        value = value[part]
    return float(value)


def rows(lines: list[dict[str, Any]]) -> list[ArmRow]:
    """The first stage and every arm that has results, in the order of the arms."""
    found = []
    for run in (FIRST, *ARMS):
        mine = sorted((line for line in lines if line["run"] == run), key=lambda line: line["seed"])
        if not mine:
            continue
        speeds = [line["images_per_second"] for line in mine if line.get("images_per_second")]
        found.append(
            ArmRow(
                run,
                tuple(line["seed"] for line in mine),
                _mean([number(line, ENDPOINT) for line in mine]),
                {name: _mean([number(line, name) for line in mine]) for name in BESIDE},
                float(np.median(speeds)) if speeds else None,
            )
        )
    return found


def comparisons(lines: list[dict[str, Any]], endpoint: str = ENDPOINT) -> list[Comparison]:
    """Every claim for which at least two seeds have both arms, corrected family by family."""
    values = {(line["seed"], line["run"]): number(line, endpoint) for line in lines}
    seeds = sorted({seed for seed, _ in values})
    found = []
    for family, claims in FAMILIES.items():
        pairs = {}
        for better, worse in claims:
            both = [seed for seed in seeds if (seed, better) in values and (seed, worse) in values]
            if len(both) >= 2:
                pairs[better, worse] = tuple(values[seed, better] - values[seed, worse] for seed in both)
        # A claim that cannot be tested yet still counts: the family was fixed beforehand.
        p_values = {str(claim): permutation_p(pairs[claim]) if claim in pairs else 1.0 for claim in claims}
        adjusted = holm(p_values)
        least = holm({str(claim): 0.5 ** len(pairs.get(claim, ())) for claim in claims})
        for claim, differences in pairs.items():
            found.append(
                Comparison(
                    family,
                    *claim,
                    differences,
                    p_values[str(claim)],
                    adjusted[str(claim)],
                    least[str(claim)],
                    permutation_p(differences, alternative="two-sided"),
                    bootstrap_interval(differences),
                    exact_interval(differences),
                )
            )
    return found


def _mean(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
