"""Captions in anyone's words: what they say, the bird they describe, one colour changed."""

from __future__ import annotations

import numpy as np
import pytest

from reference_models.dmgan.data.birds.attributes import ATTRIBUTES, INDEX
from reference_models.dmgan.data.birds.captions import parse
from reference_models.dmgan.report.birds import held_out_captions, real_bird, said, swapped


def test_grammar_captions_are_read_as_the_grammar_reads_them() -> None:
    for caption in held_out_captions(60):
        assert said(caption) == parse(caption), caption


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("A RED bird with a yellow tail.", {"tail": "yellow"}),
        (
            "slim bird, gray bill & barred blue wing",
            {"body": "slender", "beak": "grey", "wing pattern": "barred", "wing": "blue"},
        ),
        ("a pink crown", {}),  # no bird here has one
        ("a cat", {}),
        ("", {}),
    ],
)
def test_other_captions_say_what_a_bird_can_have(caption: str, wanted: dict[str, str]) -> None:
    assert said(caption) == wanted


def test_the_real_bird_is_the_caption_s_own() -> None:
    picture = real_bird("a bird with a red belly", 32)
    assert picture is not None
    assert picture.shape == (32, 32, 3)
    assert np.array_equal(picture, real_bird("a bird with a red belly", 32))
    assert real_bird("a cat", 32) is None


def test_a_swap_changes_one_colour_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for caption in ["a bird with barred wings and a red tail", *held_out_captions(40)]:
        swap = swapped(caption, rng)
        if swap is None:
            continue
        found += 1
        text, word, other, attribute = swap
        before, after = said(caption), said(text)
        assert {name for name in before if before[name] != after.get(name)} == {attribute}
        assert set(before) == set(after)
        assert after[attribute] in ATTRIBUTES[INDEX[attribute]].values
        changed = [(a, b) for a, b in zip(caption.split(), text.split()) if a != b]
        assert len(changed) == 1
        assert (changed[0][0].strip(","), changed[0][1].strip(",")) == (word, other)
        assert " an r" not in text
    assert found >= 25


def test_a_caption_without_colours_has_no_swap() -> None:
    assert swapped("this round bird has barred wings and a pointed beak", np.random.default_rng(0)) is None
