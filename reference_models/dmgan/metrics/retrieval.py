"""R-precision with R = 1: is an image nearer to its own caption than to every distractor?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.metrics.arrays import Array, as_float64


class RPrecision(NamedTuple):
    """Mean and population standard deviation over the splits (fractions), and 1 or 0 per image (I,)."""

    mean: float
    std: float
    hits: torch.Tensor


def r_precision(image_code: Array, sentence: Array, mismatched: Array, *, splits: int = 10) -> RPrecision:
    """Cosine of image codes (I, E) with their captions (I, E) and with distractors (I, D, E).

    A tie with a distractor is a miss: an encoder that gives every caption the same code scores 0, not 1.
    ``splits`` consecutive parts, as equal as can be; every image counts.

    >>> image = torch.eye(2)
    >>> r_precision(image, image, torch.tensor([[[0.0, 1.0]], [[0.0, 2.0]]]), splits=1).hits
    tensor([1, 0])
    """
    image = as_float64(image_code, "image_code", "(I, E)")
    truth = as_float64(sentence, "sentence", "(I, E)")
    others = as_float64(mismatched, "mismatched", "(I, D, E)")
    if image.shape != truth.shape or others.shape[::2] != image.shape or others.shape[1] < 1:
        raise DataError(
            "`image_code` and `sentence` must be (I, E) and `mismatched` (I, D, E) with D at least 1, got "
            f"{tuple(image.shape)}, {tuple(truth.shape)} and {tuple(others.shape)}"
        )
    if not 1 <= splits <= len(image):
        raise DataError(f"`splits` must be from 1 to the {len(image)} images, got {splits}")
    own = F.cosine_similarity(image, truth, dim=-1)
    best = F.cosine_similarity(image[:, None], others, dim=-1).amax(1)
    hits = (own > best).long()
    means = torch.stack([part.double().mean() for part in torch.tensor_split(hits, splits)])
    return RPrecision(float(means.mean()), float(means.std(correction=0)), hits)
