"""Pairs of captions that differ in one word: a colour (the picture must follow) or a synonym (it must not).

Axis letters: P pairs, A attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_models.dmgan.data.birds.attributes import ATTRIBUTES
from reference_models.dmgan.data.birds.captions import (
    COLOUR_WORDS,
    NOUNS,
    SHAPE_WORDS,
    caption,
    parse,
    swap_value,
)
from reference_models.dmgan.data.birds.dataset import SpeciesScenes
from reference_models.dmgan.data.birds.species import species

CAPTIONS = 10  # of an image, as the data set has
_SYNONYMS = {
    word: tuple(other for other in words if other != word)
    for table in (COLOUR_WORDS, NOUNS, SHAPE_WORDS)
    for words in table.values()
    for word in words
    if len(words) > 1
}


@dataclass(frozen=True)
class WordSwap:
    """One caption of a held-out bird, with a colour changed, and with a synonym instead."""

    image: int  # number of the test picture whose bird it is
    species: int
    caption: str
    mentioned: tuple[int, ...]  # attribute indices
    attributes: np.ndarray  # (A,): the truth of the caption
    attribute: int  # whose colour is changed
    value: int  # to which
    swapped: str  # the caption with the colour changed
    word: str
    replacement: str
    control: str  # the caption with one word replaced by a synonym
    synonym: tuple[str, str]  # that word and its synonym


def word_swaps(count: int, *, seed: int = 0, data_seed: int = 0) -> list[WordSwap]:
    """``count`` pairs over the test species in turn; which colour changes, and to what, is drawn with ``seed``.

    Captions in which no single word can be changed (one without a colour, or whose article would change too) and
    those without a synonym are passed over, so the colour swaps and their controls start from the same captions.
    """
    scenes = SpeciesScenes("test", data_seed)
    table = species(data_seed)
    found: list[WordSwap] = []
    image = 0
    while len(found) < count:
        kind = scenes.species_of(image)
        for number in range(CAPTIONS):
            pair = _swap(table[kind], image, kind, number, seed, data_seed)
            if pair is not None:
                found.append(pair)
                break
        image += 1
    return found


def _swap(
    attributes: np.ndarray, image: int, kind: int, number: int, seed: int, data_seed: int
) -> WordSwap | None:
    said = caption(attributes, _rng(data_seed, image, number))
    rng = np.random.default_rng([seed, 1234, image])
    colours = [index for index in said.mentioned if ATTRIBUTES[index].colour]
    for index in rng.permutation(colours).tolist():
        attribute = ATTRIBUTES[index]
        others = [value for value in range(len(attribute.values)) if value != attributes[index]]
        for value in rng.permutation(others).tolist():
            changed = swap_value(attributes, attribute.name, attribute.values[value])
            text = caption(changed, _rng(data_seed, image, number)).text
            words = one_word(said.text, text)
            control = synonym_of(said.text, attribute.name, rng)
            if words is not None and control is not None:
                other, synonym = control
                return WordSwap(
                    image,
                    kind,
                    said.text,
                    said.mentioned,
                    attributes,
                    index,
                    value,
                    text,
                    *words,
                    other,
                    synonym,
                )
    return None


def one_word(first: str, second: str) -> tuple[str, str] | None:
    """The word in which two captions differ and what stands for it; None where they differ in more, or in none.

    >>> one_word("a red crown, and a tail", "a blue crown, and a tail")
    ('red', 'blue')
    """
    left, right = first.split(), second.split()
    if len(left) != len(right):
        return None
    differ = [(a.strip(","), b.strip(",")) for a, b in zip(left, right) if a != b]
    return differ[0] if len(differ) == 1 else None


def synonym_of(text: str, name: str, rng: np.random.Generator) -> tuple[str, tuple[str, str]] | None:
    """``text`` with one word replaced by a synonym: the noun of the part called ``name`` where it has one.

    Else any word of the caption that has one. None: there is none, or it would change the article.
    """
    words = [word.strip(",") for word in text.split()]
    places = [place for place, word in enumerate(words) if word in _SYNONYMS]
    nouns = NOUNS.get(name, ())
    for place in sorted(rng.permutation(places).tolist(), key=lambda place: words[place] not in nouns):
        word = words[place]
        other = _SYNONYMS[word][0]
        article = place > 0 and words[place - 1] in ("a", "an")
        if article and (word[0] in "aeiou") != (other[0] in "aeiou"):
            continue
        tokens = text.split()
        tokens[place] = tokens[place].replace(word, other)
        changed = " ".join(tokens)
        if parse(changed) == parse(text):
            return changed, (word, other)
    return None


def _rng(data_seed: int, image: int, number: int) -> np.random.Generator:
    # The data set's own generator of a test caption: the swapped captions are of captions that it has.
    return np.random.default_rng([data_seed, 2, image, 1 + number])
