"""Pictures: every attribute can be seen, none leaves a trace when it is erased, the same scene is the same bytes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from reference_models.dmgan.data.birds.attributes import NAMES, SIZES
from reference_models.dmgan.data.birds.dataset import SpeciesScenes
from reference_models.dmgan.data.birds.render import PARTS, bounding_box, part_mask, render
from reference_models.dmgan.data.birds.scene import (
    SCENE_TARGETS,
    Scene,
    independent_attributes,
    sample_scene,
    scene_vector,
)
from reference_models.dmgan.errors import DataError


def scenes(count: int, seed: int = 5) -> list[Scene]:
    drawn = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        drawn.append(sample_scene(independent_attributes(rng), rng))
    return drawn


def changed(scene: Scene, attribute: int) -> Scene:
    """The same scene with the next value of one attribute."""
    values = list(scene.attributes)
    values[attribute] = (values[attribute] + 1) % SIZES[attribute]
    return dataclasses.replace(scene, attributes=tuple(values))


@pytest.mark.parametrize("attribute", range(len(NAMES)), ids=lambda index: NAMES[index].replace(" ", "_"))
def test_every_attribute_covers_six_pixels_at_64_in_95_of_100_renders(attribute: int) -> None:
    seen = []
    for scene in scenes(100):
        # What an attribute covers is what changes when its value does: true of colours and of shapes.
        before, after = render(scene, 64).astype(int), render(changed(scene, attribute), 64).astype(int)
        seen.append(int((np.abs(before - after).max(2) > 16).sum()) >= 6)
    assert np.mean(seen) >= 0.95


@pytest.mark.parametrize("attribute", range(len(NAMES)), ids=lambda index: NAMES[index].replace(" ", "_"))
def test_an_erased_attribute_leaves_no_trace(attribute: int) -> None:
    for scene in scenes(8):
        erased = [render(one, 64, erase={NAMES[attribute]}) for one in (scene, changed(scene, attribute))]
        assert np.array_equal(*erased)


def test_coloured_parts_are_seen_where_the_mask_says() -> None:
    covered = np.zeros(len(PARTS))
    for scene in scenes(100):
        mask = part_mask(scene, 64)
        covered += np.array([(mask == part).sum() >= 6 for part in range(len(PARTS))])
    for name in ("crown", "breast", "belly", "back", "wing", "tail", "beak", "legs"):
        assert covered[PARTS.index(name)] >= 95, name


def test_a_picture_is_a_function_of_seed_and_number() -> None:
    one, two = SpeciesScenes("train", 3), SpeciesScenes("train", 3)
    assert np.array_equal(render(one(17), 64), render(two(17), 64))
    assert not np.array_equal(render(one(17), 64), render(one(18), 64))
    assert not np.array_equal(render(one(17), 64), render(SpeciesScenes("train", 4)(17), 64))


def test_the_same_scene_at_two_sizes_is_the_same_picture() -> None:
    for scene in scenes(6):
        large = render(scene, 128).reshape(64, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(large - render(scene, 64)).mean() < 4


def test_the_box_holds_the_bird() -> None:
    for scene in scenes(20):
        x, y, width, height = bounding_box(scene, 64)
        rows, columns = np.nonzero(part_mask(scene, 64))
        assert x - 1 <= columns.min()
        assert columns.max() <= x + width + 1
        assert y - 1 <= rows.min()
        assert rows.max() <= y + height + 1


def test_scene_targets_are_standardised_and_independent_of_attributes() -> None:
    drawn = scenes(400)
    vectors = np.stack([scene_vector(scene) for scene in drawn])
    assert vectors.shape == (400, len(SCENE_TARGETS))
    assert np.abs(vectors).max() <= 1
    attributes = np.array([scene.attributes for scene in drawn], dtype=float)
    correlation = np.corrcoef(attributes.T, vectors.T)[: len(NAMES), len(NAMES) :]
    assert np.abs(correlation).max() < 0.25


def test_bad_arguments_are_named() -> None:
    (scene,) = scenes(1)
    with pytest.raises(DataError, match="`erase` must hold attribute names, got 'nose'"):
        render(scene, 64, erase={"nose"})
    with pytest.raises(DataError, match="`size` must be at least 8"):
        render(scene, 4)
