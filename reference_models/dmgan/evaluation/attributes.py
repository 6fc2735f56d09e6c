"""Attribute accuracy: does the picture show what its caption names?

Only mentioned attributes count, each attribute weighs the same however often captions name it, and the
interval comes from resampling species, since images of one species are not independent.

Axis letters: I images, A attributes, S species.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_models.dmgan.errors import DataError


@dataclass(frozen=True)
class Tally:
    """Right answers and questions asked, per species and attribute, each (S, A)."""

    right: np.ndarray
    asked: np.ndarray

    @classmethod
    def of(cls, answers: np.ndarray, truth: np.ndarray, mentioned: np.ndarray, species: np.ndarray) -> Tally:
        """From answers and truth (I, A), mentioned (I, A) bool and species (I,)."""
        if not answers.shape == truth.shape == mentioned.shape or len(species) != len(answers):
            raise DataError(
                f"`answers`, `truth` and `mentioned` must all be (I, A) with one species an image, got "
                f"{answers.shape}, {truth.shape}, {mentioned.shape} and {len(species)} species"
            )
        kinds, row = np.unique(species, return_inverse=True)
        right = np.zeros((len(kinds), answers.shape[1]))
        asked = np.zeros_like(right)
        np.add.at(right, row, (answers == truth) & mentioned)
        np.add.at(asked, row, mentioned)
        return cls(right, asked)

    def accuracy(self, weights: np.ndarray | None = None) -> float:
        """Macro average over the attributes that were asked for; ``weights`` (S,) repeats species."""
        right, asked = (
            (self.right.sum(0), self.asked.sum(0))
            if weights is None
            else (weights @ self.right, weights @ self.asked)
        )
        known = asked > 0
        return float((right[known] / asked[known]).mean()) if known.any() else float("nan")

    def per_attribute(self) -> np.ndarray:
        """(A,) accuracies, NaN where no caption names the attribute."""
        asked = self.asked.sum(0)
        return np.divide(self.right.sum(0), asked, out=np.full(len(asked), np.nan), where=asked > 0)


def other_captions(species: np.ndarray, seed: int) -> np.ndarray:
    """For each image (I,) the index of an image of another species, drawn at random: the floor's pairing."""
    if len(np.unique(species)) < 2:
        raise DataError("the floor needs images of at least 2 species, got 1")
    rng = np.random.default_rng(seed)
    other = rng.integers(0, len(species), len(species))
    while (same := species[other] == species).any():
        other[same] = rng.integers(0, len(species), int(same.sum()))
    return other


def progress(accuracy: float, floor: float, ceiling: float) -> float:
    """(accuracy - floor) / (ceiling - floor); NaN where real images are no better than the floor."""
    return (accuracy - floor) / (ceiling - floor) if ceiling > floor else float("nan")


def attribute_scores(
    fake: np.ndarray,
    real: np.ndarray,
    truth: np.ndarray,
    mentioned: np.ndarray,
    species: np.ndarray,
    *,
    names: tuple[str, ...],
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, object]:
    """The block ``attributes`` of a result.

    Args:
        fake, real: the judge's answers (I, A) for generated and for real images of the same captions.
        truth, mentioned: (I, A), of the captions.
        species: (I,).
        names: of the attributes, for the table.
    """
    other = other_captions(species, seed)
    tallies = {
        "accuracy": Tally.of(fake, truth, mentioned, species),
        "floor": Tally.of(fake, truth[other], mentioned[other], species),
        "ceiling": Tally.of(real, truth, mentioned, species),
    }
    values = {name: tally.accuracy() for name, tally in tallies.items()}
    rng = np.random.default_rng(seed)
    kinds = len(tallies["accuracy"].right)
    draws = []
    for _ in range(resamples):
        weights = np.bincount(rng.integers(0, kinds, kinds), minlength=kinds).astype(float)
        again = {name: tally.accuracy(weights) for name, tally in tallies.items()}
        draws.append([again["accuracy"], progress(**again)])
    low, high = np.nanpercentile(np.array(draws), [2.5, 97.5], axis=0)
    table = {name: tally.per_attribute() for name, tally in tallies.items()}
    return {
        **values,
        "accuracy_interval": [float(low[0]), float(high[0])],
        "progress": progress(**values),
        "progress_interval": [float(low[1]), float(high[1])],
        "species": kinds,
        "per_attribute": {
            attribute: {
                name: None if np.isnan(row[index]) else round(float(row[index]), 4)
                for name, row in table.items()
            }
            for index, attribute in enumerate(names)
        },
    }
