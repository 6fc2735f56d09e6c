"""Attribute accuracy on answers whose right score is known."""

from __future__ import annotations

import numpy as np
import pytest

from reference_models.dmgan.evaluation.attributes import Tally, attribute_scores, other_captions, progress
from reference_models.dmgan.evaluation.gate import Limits, gate

RNG = np.random.default_rng(0)
IMAGES, ATTRIBUTES, VALUES, SPECIES = 2000, 5, 7, 25
SPECIES_TABLE = RNG.integers(0, VALUES, (SPECIES, ATTRIBUTES))
SPECIES_OF = RNG.integers(0, SPECIES, IMAGES)
TRUTH = SPECIES_TABLE[SPECIES_OF]
MENTIONED = RNG.random((IMAGES, ATTRIBUTES)) < 0.5
NAMES = tuple("abcde")


def scored(fake: np.ndarray) -> dict[str, object]:
    return attribute_scores(fake, TRUTH, TRUTH, MENTIONED, SPECIES_OF, names=NAMES, resamples=200)


def test_only_mentioned_attributes_count_and_each_weighs_the_same() -> None:
    truth = np.zeros((4, 2), dtype=int)
    answers = np.array([[0, 0], [0, 1], [0, 1], [1, 1]])
    mentioned = np.array([[1, 1], [1, 0], [1, 0], [0, 1]], dtype=bool)
    tally = Tally.of(answers, truth, mentioned, np.arange(4))
    assert tally.per_attribute().tolist() == [1.0, 0.5]
    assert tally.accuracy() == 0.75  # the mean of both, although one was asked 3 times and one twice


def test_right_answers_give_progress_one_and_random_ones_none() -> None:
    assert scored(TRUTH)["progress"] == 1.0
    chance = scored(RNG.integers(0, VALUES, TRUTH.shape))
    assert abs(chance["progress"]) < 0.05  # type: ignore[arg-type]
    assert chance["accuracy"] == pytest.approx(1 / VALUES, abs=0.03)
    low, high = chance["progress_interval"]  # type: ignore[misc]
    assert low < chance["progress"] < high  # type: ignore[operator]


def test_half_right_answers_give_about_half_the_progress() -> None:
    noise = RNG.integers(0, VALUES, TRUTH.shape)
    half = np.where(RNG.random(TRUTH.shape) < 0.5, TRUTH, noise)
    assert scored(half)["progress"] == pytest.approx(0.5, abs=0.06)


def test_answers_that_ignore_the_caption_score_their_own_floor() -> None:
    same = np.broadcast_to(SPECIES_TABLE[0], TRUTH.shape)
    result = scored(same)
    assert result["accuracy"] == pytest.approx(result["floor"], abs=0.04)


def test_the_floor_pairs_each_image_with_another_species() -> None:
    other = other_captions(SPECIES_OF, 3)
    assert (SPECIES_OF[other] != SPECIES_OF).all()
    np.testing.assert_array_equal(other, other_captions(SPECIES_OF, 3))
    with pytest.raises(ValueError, match="at least 2 species"):
        other_captions(np.zeros(5, dtype=int), 0)


def test_the_interval_is_wider_with_fewer_species() -> None:
    hard = SPECIES_OF % 2 == 0  # half of the species always wrong
    answers = np.where(hard[:, None], (TRUTH + 1) % VALUES, TRUTH)
    few = np.isin(SPECIES_OF, np.arange(6))
    wide = attribute_scores(
        answers[few], TRUTH[few], TRUTH[few], MENTIONED[few], SPECIES_OF[few], names=NAMES, resamples=200
    )
    narrow = scored(answers)
    widths = [np.diff(scores["accuracy_interval"])[0] for scores in (wide, narrow)]  # type: ignore[arg-type]
    assert widths[0] > 1.5 * widths[1]


def result(**changes: float) -> dict[str, object]:
    values = {"progress": 0.7, "r": 0.75, "real": 0.8, "precision": 0.6, "recall": 0.4} | changes
    return {
        "scores": {
            "attributes": {"progress": values["progress"]},
            "r_precision": {"value": values["r"], "real": values["real"]},
            "among_answers": {name: {"value": values[name]} for name in ("precision", "recall")},
            "precision": {"value": 0.0},  # among held-out species: no term of the gate
            "recall": {"value": 0.0},
        }
    }


def test_the_gate_passes_when_all_terms_do() -> None:
    assert gate(result()).passed
    assert not gate(result(), Limits(progress=0.71)).passed


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"progress": 0.59}, "attribute progress"),
        ({"progress": float("nan")}, "attribute progress"),
        ({"r": 0.69}, "R-precision"),
        ({"precision": 0.49}, "precision"),
        ({"recall": 0.29}, "recall"),
    ],
)
def test_each_term_alone_fails_the_gate(changes: dict[str, float], failed: str) -> None:
    answer = gate(result(**changes))
    assert not answer.passed
    assert [term.name for term in answer.terms if not term.passed] == [failed]
    assert answer.to_dict()["terms"][failed]["passed"] is False


def test_progress_is_nan_when_real_images_are_no_better_than_the_floor() -> None:
    assert np.isnan(progress(0.5, 0.4, 0.4))
