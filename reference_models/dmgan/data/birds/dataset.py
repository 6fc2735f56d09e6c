"""The embedded birds as a data set: a number of images a split, ten captions each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.batch import Item
from reference_models.dmgan.data.birds.attributes import A
from reference_models.dmgan.data.birds.cache import rendered
from reference_models.dmgan.data.birds.captions import WORDS, Caption, caption
from reference_models.dmgan.data.birds.render import render
from reference_models.dmgan.data.birds.scene import Scene, independent_attributes, sample_scene
from reference_models.dmgan.data.birds.species import species, split_species
from reference_models.dmgan.data.vocabulary import END, Vocabulary
from reference_models.dmgan.errors import DataError

CAPTIONS = 10  # an image, as CUB has
_STREAMS = {"train": 0, "validation": 1, "test": 2}
DEFAULT_IMAGES = {"train": 30_000, "validation": 1_000, "test": 3_000}


def birds_vocabulary() -> Vocabulary:
    """Every word that the grammar can say."""
    return Vocabulary((END, *WORDS))


@dataclass(frozen=True)
class SpeciesScenes:
    """Picture number → scene, for one split. A class of its own so that rendering processes can be given it."""

    split: str
    seed: int

    def species_of(self, index: int) -> int:
        numbers = split_species(self.split)
        return int(numbers[index % len(numbers)])

    def __call__(self, index: int) -> Scene:
        rng = np.random.default_rng([self.seed, _STREAMS[self.split], index])
        return sample_scene(species(self.seed)[self.species_of(index)], rng)


@dataclass(frozen=True)
class IndependentScenes:
    """Picture number → scene whose attributes are drawn independently of each other."""

    seed: int

    def __call__(self, index: int) -> Scene:
        rng = np.random.default_rng([self.seed, 77, index])
        return sample_scene(independent_attributes(rng), rng)


class Birds:
    """Captioned pictures of one split's species: implements :class:`~...data.batch.CaptionedImages`.

    Args:
        split: ``train`` (140 species), ``validation`` (10) or ``test`` (50 that no training sees).
        seed: of species, scenes and captions.
        images: how many; None: 30,000, 1,000 or 3,000.
        size: pixels.
        cached: keep the pictures in a memory-mapped file, rendered at first use; else render each when asked.
        cache_folder: where; None: ``MEMGAN_CACHE`` or ``~/.cache/memgan``.
        workers: processes that render the cache.
    """

    def __init__(
        self,
        split: str,
        *,
        seed: int = 0,
        images: int | None = None,
        size: int = 64,
        cached: bool = True,
        cache_folder: Path | None = None,
        workers: int = 0,
    ) -> None:
        split_species(split)  # names an unknown split
        count = DEFAULT_IMAGES[split] if images is None else images
        if count < 1:
            raise DataError(f"`images` must be at least 1, got {count}")
        self.split, self.seed, self.size = split, seed, size
        self.vocabulary = birds_vocabulary()
        self.scenes = SpeciesScenes(split, seed)
        self._count = count
        self._pictures = (
            rendered(f"{split}_seed{seed}", self.scenes, count, size, folder=cache_folder, workers=workers)
            if cached
            else None
        )

    def __len__(self) -> int:
        return self._count

    def image(self, index: int) -> np.ndarray:
        """Picture ``index``, (size, size, 3) uint8."""
        if not 0 <= index < self._count:
            raise DataError(f"`index` must be in 0..{self._count - 1}, got {index}")
        return render(self.scenes(index), self.size) if self._pictures is None else self._pictures[index]

    def captions(self, index: int) -> list[Caption]:
        """The ten captions of picture ``index``."""
        return [self.caption(index, number) for number in range(CAPTIONS)]

    def caption(self, index: int, number: int) -> Caption:
        """Caption ``number`` (0 to 9) of picture ``index``."""
        rng = np.random.default_rng([self.seed, _STREAMS[self.split], index, 1 + number])
        return caption(self.attributes(index), rng)

    def attributes(self, index: int) -> np.ndarray:
        """The truth about picture ``index``, (A,) int64."""
        return species(self.seed)[self.scenes.species_of(index)]

    def item(self, index: int, rng: np.random.Generator, *, train: bool) -> Item:
        """Picture ``index`` with one of its captions; poses already vary, so nothing is cropped or flipped."""
        # Each caption has a generator of its own, so one of the ten is made without the other nine.
        said = self.caption(index, int(rng.integers(CAPTIONS)) if train else 0)
        mentioned = np.zeros(A, dtype=bool)
        mentioned[list(said.mentioned)] = True
        return Item(
            image=self.image(index),
            caption=tuple(self.vocabulary.encode(said.text)),
            text=said.text,
            class_id=self.scenes.species_of(index),
            key=f"{self.split}/{index:06d}",
            attributes=self.attributes(index),
            mentioned=mentioned,
        )


class IndependentBirds:
    """Pictures whose attributes are independent and uniform: what judges learn from, never a generator."""

    def __init__(
        self, *, seed: int, images: int, size: int = 64, cache_folder: Path | None = None, workers: int = 0
    ) -> None:
        self.scenes = IndependentScenes(seed)
        self.pictures = rendered(
            f"independent_seed{seed}", self.scenes, images, size, folder=cache_folder, workers=workers
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def scene(self, index: int) -> Scene:
        """The scene of picture ``index``: attributes, pose, light, background."""
        return self.scenes(index)
