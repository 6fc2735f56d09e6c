"""The scores of generated birds beside those of real ones: protocol ``embedded``.

Axis letters: I images, A attributes, F features, E code width, D distractors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.attributes import attribute_scores
from reference_models.dmgan.evaluation.features import SceneNet
from reference_models.dmgan.evaluation.images import network_input
from reference_models.dmgan.evaluation.judge import Judge
from reference_models.dmgan.evaluation.reference import Reference
from reference_models.dmgan.evaluation.retrieval import Retrieval
from reference_models.dmgan.metrics import (
    FeatureMoments,
    frechet_distance,
    kernel_distance,
    precision_recall,
    r_precision,
)

DISTRACTORS = 99
SPLITS = 10
SUBSET = 1000  # of the kernel distance


@dataclass(frozen=True)
class Captions:
    """What the images were asked to show, one row an image."""

    texts: tuple[str, ...]
    attributes: np.ndarray  # (I, A) int64
    mentioned: np.ndarray  # (I, A) bool
    species: np.ndarray  # (I,) int64

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Networks:
    """The three evaluation networks; the judge is None where a checkpoint is being chosen."""

    scene: SceneNet
    retrieval: Retrieval
    judge: Judge | None


@dataclass(frozen=True)
class Looks:
    """What the networks see in a set of images."""

    answers: np.ndarray | None  # (I, A), the judge's
    features: Tensor  # (I, F), SceneNet's
    codes: Tensor  # (I, E), Retrieval's


@torch.no_grad()
def look(images: np.ndarray, networks: Networks, *, batch: int = 250) -> Looks:
    """Run the networks on uint8 images (I, 64, 64, 3)."""
    answers, features, codes = [], [], []
    for start in range(0, len(images), batch):
        pixels = network_input(images[start : start + batch]).contiguous(memory_format=torch.channels_last)
        features.append(networks.scene.features(pixels))
        codes.append(networks.retrieval.image(pixels))
        if networks.judge is not None:
            answers.append(networks.judge.answers(pixels).numpy())
    return Looks(np.concatenate(answers) if answers else None, torch.cat(features), torch.cat(codes))


@torch.no_grad()
def scene_features(images: np.ndarray, scene: SceneNet, *, batch: int = 250) -> Tensor:
    """SceneNet's features (I, F) of uint8 images (I, 64, 64, 3), where nothing else is asked of them."""
    starts = range(0, len(images), batch)
    return torch.cat([scene.features(network_input(images[start : start + batch])) for start in starts])


def contradicting(captions: Captions, count: int, seed: int) -> np.ndarray:
    """For each image (I, D) indices of captions that its own caption contradicts: both name an attribute, with
    other values.

    Another species' caption may well be true ("a bird with a red crown"), so distractors are checked, not
    assumed; and what the own caption leaves open a generated bird may have either way, so it is no ground to
    call a distractor false. Drawn with a seed, without repeats where enough captions contradict.
    """
    rng = np.random.default_rng([seed, 99])
    chosen = np.empty((len(captions), count), dtype=np.int64)
    for image, (attributes, own) in enumerate(zip(captions.attributes, captions.mentioned)):
        picked: list[int] = []
        for _ in range(20):
            draw = rng.integers(0, len(captions), 2 * count)
            false = ((captions.attributes[draw] != attributes) & captions.mentioned[draw] & own).any(1)
            picked = list(dict.fromkeys([*picked, *draw[false].tolist()]))
            if len(picked) >= count:
                break
        if not picked:
            raise DataError(
                "no caption contradicts an image's own: R-precision needs captions of several species"
            )
        chosen[image] = np.resize(picked, count)
    return chosen


@torch.no_grad()
def retrieval_scores(
    fake: Tensor, real: Tensor, captions: Captions, network: Retrieval, *, seed: int
) -> dict[str, Any]:
    """R-precision of generated and of real images (codes (I, E)) with the same captions and distractors."""
    codes = []
    for start in range(0, len(captions), 500):
        codes.append(network.caption(*network.encode_texts(captions.texts[start : start + 500])))
    texts = torch.cat(codes)
    distractors = torch.from_numpy(contradicting(captions, DISTRACTORS, seed))
    splits = min(SPLITS, len(captions))
    scores = {}
    for name, images in (("fake", fake), ("real", real)):
        parts = [
            r_precision(images[rows], texts[rows], texts[distractors[rows]], splits=1).hits
            for rows in torch.arange(len(images)).split(500)
        ]
        hits = torch.cat(parts).double()
        means = torch.stack([part.mean() for part in torch.tensor_split(hits, splits)])
        scores[name] = (float(means.mean()), float(means.std(correction=0)))
    return {
        "value": scores["fake"][0],
        "std": scores["fake"][1],
        "real": scores["real"][0],
        "real_std": scores["real"][1],
        "chance": 1 / (DISTRACTORS + 1),
    }


def distribution_scores(
    fake: Tensor, real: Tensor, reference: Reference, *, seed: int, answers: Tensor | None = None
) -> dict[str, Any]:
    """FID, KID, precision and recall against the reference; ``real`` gives the floor or ceiling of each.

    ``answers``, features of right answers to the captions, say what is in reach of a model that draws faultless
    birds and knows no more of them than a caption tells. Precision and recall take equally many images of both
    sets (at most the reference's stored sample).
    """
    sample = reference.sample
    count = min(len(fake), len(real), len(sample))
    sets = {"value": fake, "real": real} | ({} if answers is None else {"answers": answers})
    subset = min(SUBSET, count)
    blocks: dict[str, dict[str, float]] = {"fid": {}, "kid": {}, "precision": {}, "recall": {}}
    for name, features in sets.items():
        moments = FeatureMoments(features.shape[1]).update(features)
        blocks["fid"][name] = frechet_distance(reference.moments, moments)
        if name != "answers":  # its FID says as much
            kernel = kernel_distance(sample, features, subset_size=subset, subsets=50, seed=seed)
            blocks["kid"][name], blocks["kid"][f"{name}_std"] = kernel.mean, kernel.std
        manifold = precision_recall(sample[:count], features[:count], k=3)
        blocks["precision"][name], blocks["recall"][name] = manifold
    return blocks


def answer_scores(fake: Tensor, answers: Tensor, others: Tensor) -> dict[str, Any]:
    """FID, precision and recall (features (I, F)) among right answers; ``others``, a second series of right
    answers, gives the floor or ceiling of each."""
    reference = FeatureMoments(answers.shape[1]).update(answers)
    blocks: dict[str, dict[str, float]] = {"fid": {}, "precision": {}, "recall": {}}
    for name, features in (("value", fake), ("real", others)):
        moments = FeatureMoments(features.shape[1]).update(features)
        blocks["fid"][name] = frechet_distance(reference, moments)
        manifold = precision_recall(answers, features, k=3)
        blocks["precision"][name], blocks["recall"][name] = manifold
    return blocks


def score(
    fake: np.ndarray,
    real: Looks,
    captions: Captions,
    networks: Networks,
    reference: Reference,
    *,
    names: tuple[str, ...],
    answers: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """All scores of generated images; ``real`` shows birds of the same captions, none of the reference's.

    Args:
        fake: uint8 (I, 64, 64, 3).
        real: what :func:`look` saw in as many pictures, prepared alike.
        answers: features (I, F) of two series of right answers to the captions; None: not scored among them.
    """
    if len(fake) != len(captions):
        raise DataError(f"`fake` must hold one image a caption ({len(captions)}), got {len(fake)}")
    say("looking at generated images")
    fake_looks = look(fake, networks)
    say("FID, KID, precision and recall")
    scores = distribution_scores(
        fake_looks.features, real.features, reference, seed=seed, answers=answers[1] if answers else None
    )
    if answers:
        scores["among_answers"] = answer_scores(fake_looks.features, *answers)
    say("R-precision")
    scores["r_precision"] = retrieval_scores(
        fake_looks.codes, real.codes, captions, networks.retrieval, seed=seed
    )
    if fake_looks.answers is not None and real.answers is not None:
        scores["attributes"] = attribute_scores(
            fake_looks.answers,
            real.answers,
            captions.attributes,
            captions.mentioned,
            captions.species,
            names=names,
            seed=seed,
        )
    return scores
