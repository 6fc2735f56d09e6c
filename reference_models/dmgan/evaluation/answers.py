"""Right answers: real birds of which the captions are true, with everything that a caption leaves open drawn freely.

A caption names 2 to 5 of 12 attributes. No picture can show the other seven of a species that its model has never
seen, so held-out species are no fair target for a single picture: renders that show exactly what the captions say
have precision 0.001 among them, and a Fréchet distance of 7. Among right answers they have precision 0.9.

Axis letters: I images, S pixels, A attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reference_models.dmgan.data.birds.cache import rendered
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.data.birds.scene import Scene, independent_attributes, sample_scene
from reference_models.dmgan.evaluation.birds import reduced
from reference_models.dmgan.evaluation.judge import SIZE

_STREAM = 79  # of the random numbers: no data set or pool has it


@dataclass(frozen=True)
class AnswerScenes:
    """Number of a caption → scene of a bird that it is true of; ``series`` 0, 1, ... show other birds."""

    split: str
    seed: int
    series: int

    @cached_property
    def _birds(self) -> Birds:
        return Birds(self.split, seed=self.seed, cached=False)

    def __call__(self, index: int) -> Scene:
        rng = np.random.default_rng([self.seed, _STREAM, self.series, index])
        attributes = independent_attributes(rng)
        said = list(self._birds.caption(index, 0).mentioned)
        attributes[said] = self._birds.attributes(index)[said]
        return sample_scene(attributes, rng)


def right_answers(
    split: str, count: int, series: int, *, size: int = SIZE, seed: int = 0, workers: int = 0
) -> np.ndarray:
    """Pictures (I, 64, 64, 3) uint8 of which the first ``count`` captions of :func:`birds.captions_of` are true.

    Drawn at ``size`` and reduced as generated images are; drawn once, then read from the data set's cache.
    """
    scenes = AnswerScenes(split, seed, series)
    return reduced(rendered(f"answers_{split}_seed{seed}_{series}", scenes, count, size, workers=workers))
