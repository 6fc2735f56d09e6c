"""Result lines → comparisons, on numbers whose answers are known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reference_models.dmgan.ablation.summary import ENDPOINT, FAMILIES, comparisons, number, rows

GAINS = {"first": 0.0, "baseline": 0.5, "memory": 0.6, "write_gate": 0.6, "full": 0.7, "wide": 0.55}


def line(seed: int, run: str, gain: float | None = None) -> dict[str, Any]:
    progress = GAINS[run] + 0.01 * seed if gain is None else gain
    among = {name: {"value": 0.25} for name in ("fid", "precision", "recall")}
    scores = {"r_precision": {"value": 0.25}, "among_answers": among}
    return {
        "seed": seed,
        "run": run,
        "parameters": None if run == "first" else 100,
        "flops": None if run == "first" else 5,
        "images_per_second": 10.0 + seed,
        "scores": {**scores, "attributes": {"progress": progress}},
    }


def six_seeds() -> list[dict[str, Any]]:
    return [line(seed, run) for seed in range(6) for run in GAINS]


def test_the_endpoint_is_attribute_progress() -> None:
    assert ENDPOINT == "attributes.progress"
    assert number(line(2, "full"), ENDPOINT) == pytest.approx(0.72)


def test_a_family_of_three_can_be_shown_with_six_seeds_and_no_fewer() -> None:
    found = {(one.better, one.worse): one for one in comparisons(six_seeds())}
    assert len(found) == sum(map(len, FAMILIES.values()))
    memory = found["memory", "baseline"]
    assert memory.mean == pytest.approx(0.1)
    assert memory.p == 1 / 64
    assert memory.adjusted == memory.least_adjusted == 3 / 64
    assert memory.p_two_sided == 2 / 64
    assert memory.bootstrap == pytest.approx((0.1, 0.1))
    assert found["full", "wide"].adjusted == 2 / 64
    five = comparisons([one for one in six_seeds() if one["seed"] < 5])
    assert min(one.adjusted for one in five if one.family == "each part") == 3 / 32


def test_an_arm_that_changes_nothing_is_not_taken_for_better() -> None:
    gate = next(
        one for one in comparisons(six_seeds()) if (one.better, one.worse) == ("write_gate", "memory")
    )
    assert gate.mean == pytest.approx(0)
    assert gate.p == gate.adjusted == 1


def test_pairs_need_both_arms_of_a_seed() -> None:
    lines = [one for one in six_seeds() if (one["seed"], one["run"]) != (3, "memory")]
    found = {(one.better, one.worse): one for one in comparisons(lines)}
    assert len(found["memory", "baseline"].differences) == 5
    assert len(found["full", "baseline"].differences) == 6
    assert comparisons([line(0, run) for run in GAINS]) == []


def test_a_family_keeps_its_size_while_arms_are_missing() -> None:
    lines = [one for one in six_seeds() if one["run"] in ("baseline", "memory")]
    (only,) = (one for one in comparisons(lines) if one.family == "each part")
    assert only.adjusted == 3 / 64


def test_no_adjusted_p_is_below_the_least_that_its_pairs_can_give() -> None:
    """Of unlike numbers of pairs too: beside a claim of three pairs, one of two can reach that one's adjusted p."""
    lines = [one for one in six_seeds() if one["seed"] < (3 if one["run"] in ("first", "baseline") else 2)]
    found = {(one.better, one.worse): one for one in comparisons(lines)}
    assert found["baseline", "first"].adjusted == found["baseline", "first"].least_adjusted == 2 / 8
    assert found["full", "first"].adjusted == found["full", "first"].least_adjusted == 2 / 8
    assert found["full", "wide"].least_adjusted == 2 / 4
    assert all(one.adjusted >= one.least_adjusted for one in found.values())


def test_rows_are_in_the_order_of_the_arms_with_mean_and_spread() -> None:
    found = rows(list(reversed(six_seeds())))
    assert [row.run for row in found] == ["first", "baseline", "memory", "write_gate", "full", "wide"]
    full = found[4]
    assert full.seeds == (0, 1, 2, 3, 4, 5)
    assert full.endpoint == pytest.approx((0.725, 0.01 * math.sqrt(3.5)))
    assert full.images_per_second == 12.5
    assert math.isnan(rows([line(0, "full")])[0].endpoint[1])
