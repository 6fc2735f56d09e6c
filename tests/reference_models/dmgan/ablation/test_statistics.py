"""Paired statistics on cases whose answers are known in closed form."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from reference_models.dmgan.ablation.statistics import (
    bootstrap_interval,
    exact_interval,
    holm,
    permutation_p,
)
from reference_models.dmgan.errors import DataError


def test_differences_of_one_sign_give_the_smallest_p() -> None:
    for n in (2, 6, 10):
        values = np.linspace(0.1, 0.2, n)
        assert permutation_p(values) == 2.0**-n
        assert permutation_p(-values) == 1.0
        assert permutation_p(values, alternative="two-sided") == 2.0 ** (1 - n)
        assert permutation_p(-values, alternative="two-sided") == 2.0 ** (1 - n)


def test_equal_differences_count_binomial_ties() -> None:
    # Five of +1 and one of -1: patterns with at most one minus are as extreme, 1 + 6 of 64.
    assert permutation_p([1, 1, 1, 1, 1, -1]) == 7 / 64
    assert (
        permutation_p([0.1] * 5 + [-0.1]) == 7 / 64
    )  # 0.1 is no binary fraction: ties must survive rounding
    assert permutation_p([1, 1, 1, 1, 1, -1], alternative="two-sided") == 14 / 64
    assert permutation_p([1, -1], alternative="two-sided") == 1.0
    assert permutation_p([0, 0, 0]) == 1.0


def test_p_is_the_share_of_sign_patterns_as_a_plain_loop_counts_it() -> None:
    values = np.random.default_rng(3).standard_normal(7)
    means = [np.mean(np.array(signs) * values) for signs in product((1, -1), repeat=7)]
    seen = values.mean()
    assert permutation_p(values) == pytest.approx(np.mean([m >= seen - 1e-12 for m in means]), abs=1e-12)
    both = np.mean([abs(m) >= abs(seen) - 1e-12 for m in means])
    assert permutation_p(values, alternative="two-sided") == pytest.approx(both, abs=1e-12)


def test_without_an_effect_p_is_no_smaller_than_it_says() -> None:
    rng = np.random.default_rng(0)
    p = np.array([permutation_p(rng.standard_normal(6)) for _ in range(800)])
    for level in (1 / 64, 1 / 16, 1 / 4):
        assert (p <= level).mean() < level + 3 * np.sqrt(level * (1 - level) / len(p))
    assert (p <= 1 / 4).mean() > 0.2  # and not much larger


def test_holm_steps_down_and_never_up() -> None:
    adjusted = holm({"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.04, "c": 0.04, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({"alone": 0.04}) == {"alone": 0.04}


def test_bootstrap_of_few_pairs_takes_every_resample() -> None:
    # Two pairs: means 0, 1/2, 1/2, 1, each resample once; the 2.5 and 97.5 % quantiles interpolate.
    low, high = bootstrap_interval([0.0, 1.0])
    assert (low, high) == pytest.approx((0.0375, 0.9625))
    assert bootstrap_interval([0.3] * 5) == pytest.approx((0.3, 0.3))


def test_bootstrap_of_many_pairs_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, 200)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert bootstrap_interval(values) == (low, high)  # seeded


def test_exact_interval_holds_what_the_test_does_not_reject() -> None:
    values = np.array([0.3, -0.1, 0.8, 0.4, 0.2, 0.5])
    low, high, coverage = exact_interval(values)
    assert (low, high) == (-0.1, 0.8)  # of 64 pieces the outermost two are left out
    assert coverage == 62 / 64
    for centre, inside in (
        (low + 1e-6, True),
        (high - 1e-6, True),
        (low - 1e-6, False),
        (high + 1e-6, False),
    ):
        assert (permutation_p(values - centre, alternative="two-sided") > 1 - coverage) is inside


def test_exact_interval_of_ten_pairs_leaves_out_more_than_the_ends() -> None:
    values = np.arange(10.0)
    low, high, coverage = exact_interval(values)
    assert coverage == 1 - 2 * 25 / 1024  # floor(0.025 * 1024) pieces on each side
    assert 0 < low < values.mean() < high < 9


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="at least one finite number, got \\[\\]"):
        permutation_p([])
    with pytest.raises(DataError, match="finite number"):
        bootstrap_interval([0.1, float("nan")])
    with pytest.raises(DataError, match="at most 20 pairs, got 21"):
        permutation_p([1.0] * 21)
