"""One Batch for every data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_models.dmgan.data.batch import Item, collate, image_pyramid, wrong_captions
from reference_models.dmgan.errors import DataError


def item(
    caption: tuple[int, ...], *, class_id: int = 0, attributes=None, mentioned=None, size: int = 8
) -> Item:
    image = np.full((size, size, 3), 255, dtype=np.uint8)
    return Item(image, caption, "text", class_id, f"key{class_id}", attributes, mentioned)


def test_captions_are_padded_with_zeros_behind_the_last_word() -> None:
    batch = collate([item((5, 6, 7)), item((9,), class_id=1)], sizes=(4, 8))
    assert batch.captions.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.word_mask.tolist() == [[True, True, True], [True, False, False]]
    assert [tuple(image.shape) for image in batch.images] == [(2, 3, 4, 4), (2, 3, 8, 8)]


def test_images_span_minus_one_to_one() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 4, 4, 3)
    small, large = image_pyramid(images, (2, 4))
    assert small[0].unique().tolist() == [-1.0]
    assert large[1].unique().tolist() == [1.0]


def test_an_empty_caption_names_its_image_and_text() -> None:
    with pytest.raises(DataError, match="key3.*no known word"):
        collate([item((), class_id=3)], sizes=(8,))


def test_a_wrong_caption_is_of_another_class() -> None:
    assert wrong_captions(np.array([4, 4, 7])).tolist() == [2, 2, 0]


def test_a_batch_of_one_class_has_no_wrong_caption() -> None:
    assert wrong_captions(np.array([1, 1])).tolist() == [-1, -1]


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**31))
def test_where_attributes_are_known_a_wrong_caption_contradicts_the_image(
    count: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    attributes = rng.integers(0, 3, (count, width))
    mentioned = rng.random((count, width)) < 0.5
    wrong = wrong_captions(np.arange(count), attributes, mentioned)
    for image, caption in enumerate(wrong):
        false = [
            bool((mentioned[other] & (attributes[other] != attributes[image])).any())
            for other in range(count)
        ]
        assert false[caption] if caption >= 0 else not any(false)


def test_attributes_travel_only_when_every_item_has_them() -> None:
    known = item((1,), attributes=np.zeros(2, dtype=np.int64), mentioned=np.ones(2, dtype=bool))
    assert collate([known, known], sizes=(8,)).attributes is not None
    assert collate([known, item((1,))], sizes=(8,)).attributes is None
