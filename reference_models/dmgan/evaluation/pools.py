"""Training and held-out renders of the evaluation networks: birds with independent, uniform attributes.

Image ``i`` of a pool is a function of (seed, i) alone. In some images the parts of one attribute are erased: the
judge learns to have no opinion of what is not there. Pools are cached beside the data set's pictures, keyed by
the renderer's version.

Axis letters: I images, S pixels, A attributes, T scene parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.birds.attributes import NAMES, A
from reference_models.dmgan.data.birds.cache import cache_dir
from reference_models.dmgan.data.birds.render import VERSION, render
from reference_models.dmgan.data.birds.scene import (
    SCENE_TARGETS,
    independent_attributes,
    sample_scene,
    scene_vector,
)
from reference_models.dmgan.files import write_atomically


@dataclass(frozen=True)
class Pool:
    """Rendered scenes."""

    images: np.ndarray  # (I, S, S, 3) uint8, may be memory-mapped
    attributes: np.ndarray  # (I, A) int64
    scenes: np.ndarray  # (I, T) float32
    erased: np.ndarray  # (I, A) bool: the attribute's parts are not in the image

    def __len__(self) -> int:
        return len(self.images)


def draw(seed: int, index: int, size: int, erase_share: float = 0.0, erase: int | None = None) -> tuple:
    """One scene → (image, attributes, scene vector, erased attribute or -1).

    ``erase`` erases that attribute; otherwise a random one in ``erase_share`` of the images.
    """
    rng = np.random.default_rng([seed, index])
    attributes = independent_attributes(rng)
    scene = sample_scene(attributes, rng)
    gone = int(rng.integers(0, A)) if rng.random() < erase_share else -1
    gone = gone if erase is None else erase
    return (
        render(scene, size, erase={NAMES[gone]} if gone >= 0 else ()),
        attributes,
        scene_vector(scene),
        gone,
    )


def pool(
    seed: int,
    count: int,
    *,
    size: int = 64,
    erase_share: float = 0.0,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pool:
    """The pool of ``seed``, from the cache when it is there, drawn and cached otherwise."""
    folder = cache or cache_dir()
    text = f"{VERSION} {seed} {count} {size} {erase_share}"
    name = f"independent-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    paths = {part: folder / f"{name}-{part}.npy" for part in ("images", "attributes", "scenes", "erased")}
    if not all(path.exists() for path in paths.values()):
        arrays = _draw_all(seed, count, size, erase_share, say)
        for part, array in arrays.items():
            with write_atomically(paths[part]) as temporary, temporary.open("wb") as file:
                np.save(file, array)
    return Pool(
        np.load(paths["images"], mmap_mode="r"),
        *(np.load(paths[part]) for part in ("attributes", "scenes", "erased")),
    )


def _draw_all(
    seed: int, count: int, size: int, erase_share: float, say: Callable[[str], None]
) -> dict[str, np.ndarray]:
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    attributes = np.empty((count, A), dtype=np.int64)
    scenes = np.empty((count, len(SCENE_TARGETS)), dtype=np.float32)
    erased = np.zeros((count, A), dtype=bool)
    for index in range(count):
        images[index], attributes[index], scenes[index], gone = draw(seed, index, size, erase_share)
        if gone >= 0:
            erased[index, gone] = True
        if index % 5000 == 4999:
            say(f"drew {index + 1}/{count} birds")
    return {"images": images, "attributes": attributes, "scenes": scenes, "erased": erased}
