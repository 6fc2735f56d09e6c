"""Axes and bars say what the numbers say."""

from __future__ import annotations

import math
import re

import pytest

from reference_models.dmgan.report.charts import POINTS, number, range_bar, short, smoothed, thinned, ticks
from reference_models.dmgan.report.data import Metric, Series


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 4.37), (-2.5, 0.3), (0, 400_000), (1e-4, 3e-4), (400_000, 402_304)]
)
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    steps = {round(b - a, 9) for a, b in zip(found, found[1:])}
    assert len(steps) == 1


def test_a_flat_range_has_one_tick() -> None:
    assert ticks(2.0, 2.0) == [2.0]


def test_short_numbers() -> None:
    assert [short(v) for v in (0, 0.25, 1500, 400_000, 2e6)] == ["0", "0.25", "1.5k", "400k", "2M"]


def test_thinning_keeps_the_mean_and_drops_what_is_not_finite() -> None:
    y = [float(index % 10) for index in range(5000)]
    y[7] = math.nan
    line = thinned(Series("loss", tuple(range(5000)), tuple(y)))
    assert len(line.x) == POINTS
    assert all(math.isfinite(value) for value in line.y)
    assert sum(line.y) / len(line.y) == pytest.approx(4.5, abs=0.1)


def test_smoothing_starts_at_the_first_value() -> None:
    assert smoothed([3.0, 3.0, 3.0], 0.9) == pytest.approx([3.0, 3.0, 3.0])


def test_lower_is_better_runs_from_the_floor_on_the_left() -> None:
    def at(value: float) -> float:
        found = re.search(r"left:([\d.]+)%", range_bar(Metric("FID", value, 100, 0, better="lower")))
        assert found
        return float(found[1])

    assert at(100) == 0
    assert at(25) == 75
    assert at(-5) == 100  # never outside the bar


def test_numbers_that_are_not_known_are_a_dash() -> None:
    metric = Metric("recall", math.nan)
    assert number(metric, math.nan) == "–"
    assert number(metric, None) == "–"
    assert range_bar(metric) == ""
