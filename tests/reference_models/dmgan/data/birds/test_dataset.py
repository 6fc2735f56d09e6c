"""The embedded data set: species, splits, captions, and a cache that is whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_models.dmgan.data.batch import collate
from reference_models.dmgan.data.birds import cache
from reference_models.dmgan.data.birds.attributes import ATTRIBUTES, INDEX, NAMES, A
from reference_models.dmgan.data.birds.captions import WORDS, caption, parse, swap_value
from reference_models.dmgan.data.birds.dataset import Birds, IndependentBirds
from reference_models.dmgan.data.birds.scene import independent_attributes
from reference_models.dmgan.data.birds.species import species, split_species
from reference_models.dmgan.data.vocabulary import tokenize
from reference_models.dmgan.errors import DataError


def test_200_different_species_in_three_splits_that_share_none() -> None:
    table = species()
    assert table.shape == (200, A)
    assert len({tuple(row) for row in table}) == 200
    parts = [set(split_species(split).tolist()) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [140, 10, 50]
    assert len(set.union(*parts)) == 200
    with pytest.raises(DataError, match="split"):
        split_species("held out")


def test_every_value_of_every_attribute_is_seen_in_training() -> None:
    seen = species()[split_species("train")]
    for index, attribute in enumerate(ATTRIBUTES):
        assert set(seen[:, index]) == set(range(len(attribute.values))), attribute.name


@given(seed=st.integers(0, 2**31))
def test_a_caption_says_two_to_five_attributes_truly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attributes = independent_attributes(rng)
    said = caption(attributes, rng)
    assert 2 <= len(said.mentioned) <= 5
    assert set(tokenize(said.text)) <= set(WORDS)
    understood = parse(said.text)
    assert set(understood) == {NAMES[index] for index in said.mentioned}
    for name, value in understood.items():
        assert ATTRIBUTES[INDEX[name]].values[attributes[INDEX[name]]] == value


def test_one_value_changed_changes_one_word() -> None:
    rng = np.random.default_rng(4)
    attributes = independent_attributes(rng)
    attributes[INDEX["crown"]] = ATTRIBUTES[INDEX["crown"]].values.index("red")
    other = swap_value(attributes, "crown", "blue")
    for seed in range(200):
        pair = [caption(values, np.random.default_rng(seed)) for values in (attributes, other)]
        if INDEX["crown"] in pair[0].mentioned:
            words = [one.text.split() for one in pair]
            assert len(words[0]) == len(words[1])
            assert [(a, b) for a, b in zip(*words) if a != b] == [("red", "blue")]


def test_captions_vary() -> None:
    birds = Birds("train", images=3, size=16, cached=False)
    for index in range(3):
        assert len({said.text for said in birds.captions(index)}) >= 9


def test_items_tell_the_truth_and_make_batches() -> None:
    birds = Birds("test", images=60, size=32, cached=False)
    items = [birds.item(index, np.random.default_rng(index), train=True) for index in range(60)]
    batch = collate(items, (16, 32))
    assert [tuple(image.shape) for image in batch.images] == [(60, 3, 16, 16), (60, 3, 32, 32)]
    assert batch.attributes is not None
    assert batch.mentioned is not None
    assert set(batch.class_ids.tolist()) == set(split_species("test").tolist())
    for item in items:
        assert item.attributes is not None
        assert np.array_equal(item.attributes, species()[item.class_id])
    again = birds.item(7, np.random.default_rng(7), train=True)
    assert again.text == items[7].text
    assert np.array_equal(again.image, items[7].image)


def test_the_cache_holds_the_same_pictures(tmp_path: Path) -> None:
    drawn, kept = (
        Birds("train", images=5, size=16, cached=cached, cache_folder=tmp_path) for cached in (False, True)
    )
    assert all(np.array_equal(drawn.image(index), kept.image(index)) for index in range(5))
    (file,) = tmp_path.rglob("*.npy")
    before = file.stat().st_mtime_ns
    Birds("train", images=5, size=16, cache_folder=tmp_path)
    assert file.stat().st_mtime_ns == before, "drawn again though it was there"


def test_a_drawing_that_is_interrupted_leaves_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def interrupted(*args: object, **kwargs: object) -> np.ndarray:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return np.zeros((16, 16, 3), dtype=np.uint8)

    monkeypatch.setattr(cache, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Birds("train", images=5, size=16, cache_folder=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))
    monkeypatch.undo()
    assert Birds("train", images=5, size=16, cache_folder=tmp_path).image(4).any()


def test_a_damaged_cache_is_drawn_again(tmp_path: Path) -> None:
    whole = Birds("train", images=5, size=16, cache_folder=tmp_path).image(4).copy()
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(file.read_bytes()[:1000])
    assert np.array_equal(Birds("train", images=5, size=16, cache_folder=tmp_path).image(4), whole)


def test_several_processes_draw_the_same_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CHUNK", 2)  # several tasks
    one, two = (
        Birds("train", images=6, size=16, cache_folder=tmp_path / str(workers), workers=workers)
        for workers in (0, 2)
    )
    assert all(np.array_equal(one.image(index), two.image(index)) for index in range(6))


def test_the_judges_birds_are_independent(tmp_path: Path) -> None:
    birds = IndependentBirds(seed=3, images=4, size=16, cache_folder=tmp_path)
    assert len(birds) == 4
    assert birds.pictures.shape == (4, 16, 16, 3)
    drawn = np.array([birds.scenes(index).attributes for index in range(3000)], dtype=float)
    correlation = np.corrcoef(drawn.T) - np.eye(A)
    assert np.abs(correlation).max() < 0.1


def test_bad_arguments_are_named() -> None:
    with pytest.raises(DataError, match="`images` must be at least 1, got 0"):
        Birds("train", images=0, cached=False)
    with pytest.raises(DataError, match=r"`index` must be in 0\.\.2, got 3"):
        Birds("train", images=3, size=16, cached=False).image(3)
