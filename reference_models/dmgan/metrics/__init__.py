"""Scores of image sets, each on features or probabilities: no network in here, and nothing is downloaded.

Axis letters: I images, F features, K classes, E word-embedding width, D distractors.

All sums are float64. :class:`FeatureMoments` and :class:`SplitEntropies` are accumulators: they take batches,
they merge, and they add up over the ranks of ``torch.distributed``.
"""

from reference_models.dmgan.metrics.frechet import FeatureMoments, frechet_distance
from reference_models.dmgan.metrics.inception_score import SplitEntropies, inception_score
from reference_models.dmgan.metrics.kernel import kernel_distance
from reference_models.dmgan.metrics.neighbours import PrecisionRecall, precision_recall
from reference_models.dmgan.metrics.retrieval import RPrecision, r_precision

__all__ = [
    "FeatureMoments",
    "PrecisionRecall",
    "RPrecision",
    "SplitEntropies",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "precision_recall",
    "r_precision",
]
