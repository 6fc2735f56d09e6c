"""Each metric against torchmetrics, the released code's golden vector, or a closed form."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from reference_models.dmgan import metrics
from reference_models.dmgan.errors import DataError

VECTORS = Path(__file__).parents[3] / "vectors"


def features(count: int, width: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) @ mixing + shift


def test_frechet_distance_equals_torchmetrics() -> None:
    real, fake = features(301, 13, 1), features(211, 13, 2, shift=0.3)
    oracle = _compute_fid(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov())
    assert metrics.frechet_distance(real, fake) == pytest.approx(float(oracle), rel=1e-9)


def test_frechet_distance_of_diagonal_gaussians_has_its_closed_form() -> None:
    signs = torch.tensor([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)], dtype=torch.float64)
    real, fake = (
        signs * torch.tensor([2.0, 3.0]),
        signs * torch.tensor([5.0, 7.0]) + torch.tensor([11.0, 0.0]),
    )
    expected = 121 + (4 / 3) * ((5 - 2) ** 2 + (7 - 3) ** 2)  # variance of +-s over 4 points is 4/3 s^2
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_a_set_with_itself_is_zero_when_the_covariance_is_singular() -> None:
    few = features(5, 31, 3)
    assert metrics.frechet_distance(few, few) == pytest.approx(0.0, abs=1e-6)


@given(st.lists(st.integers(0, 23), min_size=2, max_size=4), st.floats(-1e6, 1e6))
def test_merged_moments_equal_the_moments_of_everything(cuts: list[int], offset: float) -> None:
    values = features(23, 5, 4) + offset
    parts = torch.tensor_split(values, sorted(cuts))
    merged = metrics.FeatureMoments(5)
    for part in parts:
        merged.merge(metrics.FeatureMoments(5).update(part))
    assert merged.count == 23
    torch.testing.assert_close(merged.mean, values.mean(0))
    torch.testing.assert_close(merged.covariance(), values.T.cov(), rtol=1e-6, atol=1e-6)


def test_kernel_distance_equals_torchmetrics_on_the_whole_set() -> None:
    real, fake = features(97, 11, 5), features(97, 11, 6, shift=0.5)
    ours = metrics.kernel_distance(real, fake, subsets=1, subset_size=97)
    assert ours.mean == pytest.approx(float(poly_mmd(real, fake)), rel=1e-9)


def test_kernel_distance_is_seeded_and_unbiased() -> None:
    real, fake = torch.randn(1000, 4), torch.randn(1000, 4)
    first = metrics.kernel_distance(real, fake, subsets=50, subset_size=200, seed=7)
    assert first == metrics.kernel_distance(real, fake, subsets=50, subset_size=200, seed=7)
    assert first != metrics.kernel_distance(real, fake, subsets=50, subset_size=200, seed=8)
    assert abs(first.mean) < 0.05
    assert metrics.kernel_distance(real, fake + 1, subsets=50, subset_size=200).mean > 0.5


def test_inception_score_counts_the_classes_in_use_and_takes_empty_classes() -> None:
    assert metrics.inception_score(torch.eye(3).repeat(20, 1), splits=4) == (pytest.approx(3.0), 0.0)
    assert metrics.inception_score(torch.full((8, 5), 0.2), splits=2).mean == pytest.approx(1.0)
    half = torch.nn.functional.pad(torch.eye(2), (0, 3)).repeat(10, 1)  # three classes never occur
    assert metrics.inception_score(half, splits=2).mean == pytest.approx(2.0)


def test_inception_score_equals_the_definition_with_population_deviation() -> None:
    probabilities = torch.softmax(features(120, 7, 8), 1)
    scores = []
    for part in probabilities.reshape(4, 30, 7).numpy():
        divergence = (part * (np.log(part) - np.log(part.mean(0)))).sum(1)
        scores.append(math.exp(divergence.mean()))
    ours = metrics.inception_score(probabilities, splits=4)
    assert ours == (pytest.approx(np.mean(scores)), pytest.approx(np.std(scores)))


def test_inception_score_of_ranks_equals_the_score_of_one_process() -> None:
    probabilities = torch.softmax(features(60, 5, 9), 1)
    ranks = [metrics.SplitEntropies(5, 60, 3) for _ in range(2)]
    for rank, entropies in enumerate(ranks):
        entropies.update(torch.arange(rank, 60, 2), probabilities[rank::2])
    merged = ranks[0].merge(ranks[1]).score()
    assert merged == pytest.approx(metrics.inception_score(probabilities, splits=3))


def test_precision_and_recall_equal_a_plain_double_loop() -> None:
    real, fake = features(61, 3, 10).numpy(), features(47, 3, 11).numpy()

    def share(points: np.ndarray, centres: np.ndarray) -> float:
        inside = 0
        for point in points:
            for i, centre in enumerate(centres):
                others = np.delete(centres, i, axis=0)
                radius = np.sort(np.linalg.norm(others - centre, axis=1))[2]
                if np.linalg.norm(point - centre) <= radius:
                    inside += 1
                    break
        return inside / len(points)

    ours = metrics.precision_recall(real, fake, k=3, block=17)
    assert ours == (pytest.approx(share(fake, real)), pytest.approx(share(real, fake)))
    assert 0 < ours.precision < 1


def test_one_repeated_image_has_no_recall_and_noise_has_no_precision() -> None:
    real = features(200, 4, 12)
    repeated = real[:1].repeat(200, 1)
    assert metrics.precision_recall(real, repeated) == (1.0, pytest.approx(0.005))
    assert metrics.precision_recall(real, real + 1000.0) == (0.0, 0.0)


def test_r_precision_hits_the_same_images_as_the_released_code() -> None:
    golden = np.load(VECTORS / "r_precision.npz")
    ours = metrics.r_precision(golden["image_code"], golden["sentence"], golden["mismatched"], splits=10)
    np.testing.assert_array_equal(ours.hits.numpy(), golden["hits"])
    assert 0 < golden["hits"].mean() < 1
    assert ours.mean == pytest.approx(golden["hits"].mean())


def test_an_encoder_that_gives_every_caption_the_same_code_scores_nothing() -> None:
    code = torch.ones(4, 3)
    assert metrics.r_precision(code, code, torch.ones(4, 9, 3), splits=2).mean == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.frechet_distance(torch.ones(3), torch.ones(3, 2)),
            r"`real` must be .*got 1 axes",
        ),
        (lambda: metrics.frechet_distance(torch.ones(3, 4), torch.ones(3, 2)), "as many features"),
        (lambda: metrics.frechet_distance(torch.ones(1, 2), torch.ones(3, 2)), "at least 2 images"),
        (
            lambda: metrics.frechet_distance(torch.full((3, 2), torch.nan), torch.ones(3, 2)),
            "`real` must be finite",
        ),
        (
            lambda: metrics.kernel_distance(torch.ones(9, 2), torch.ones(5, 2), subset_size=6),
            "`subset_size`.* 5",
        ),
        (lambda: metrics.precision_recall(torch.ones(9, 2), torch.ones(3, 2)), "`k` must be from 1"),
        (lambda: metrics.inception_score(torch.ones(9, 2), 3), "sum to 1"),
        (lambda: metrics.inception_score(torch.eye(2), splits=3), "`splits` must be"),
        (lambda: metrics.r_precision(torch.ones(4, 3), torch.ones(4, 3), torch.ones(4, 9, 2)), "must be"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()  # type: ignore[operator]
