"""Captions: a small grammar of natural English that says two to five attributes of a bird, truly.

All random choices are drawn before any value is looked at, so the same generator on a bird with one value changed
gives the same sentence with that word changed: the swaps of the ablation are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_models.dmgan.data.birds.attributes import ATTRIBUTES, BARE, INDEX, NAMES, PLUMAGE

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    colour: (colour,) for colour in dict.fromkeys((*PLUMAGE, *BARE))
} | {"grey": ("grey", "gray"), "purple": ("purple", "violet")}
NOUNS: dict[str, tuple[str, ...]] = {
    "crown": ("crown", "cap"),
    "breast": ("breast", "chest"),
    "belly": ("belly", "underside"),
    "back": ("back",),
    "wing": ("wings",),
    "tail": ("tail",),
    "beak": ("beak", "bill"),
    "legs": ("legs", "feet"),
}
SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "short": ("short", "stubby"),
    "long": ("long", "pointed"),
    "hooked": ("hooked", "curved"),
    "plump": ("plump", "round"),
    "slender": ("slender", "slim"),
    "plain": ("plain",),
    "barred": ("barred", "striped"),
    "spotted": ("spotted", "dotted"),
}
PLURAL = ("wings", "legs", "feet")
OPENINGS = (
    "this bird has",
    "a {adjective}bird with",
    "the {adjective}bird has",
    "this is a {adjective}bird with",
    "a {adjective}bird that has",
    "a small picture of a {adjective}bird with",
)
LONGEST = 24  # words of a caption: 7 of the longest opening, 5 attributes of "a red tail", and "and also"
JOINTS = (", ", " and ", ", with ")
_FILLER = "this bird has a an the is with that small picture of and no crest it also"


@dataclass(frozen=True)
class Caption:
    """A sentence and what it says."""

    text: str
    mentioned: tuple[int, ...]  # attribute indices, ascending


def caption(attributes: np.ndarray, rng: np.random.Generator) -> Caption:
    """One caption of a bird with ``attributes`` (A,), mentioning 2 to 5 of them."""
    count = int(rng.integers(2, 6))
    chosen = {NAMES[index] for index in rng.permutation(len(NAMES))[:count]}
    pick = {name: int(rng.integers(2)) for name in (*NAMES, "noun " + "crown")}
    noun = {name: int(rng.integers(2)) for name in NOUNS}
    order = rng.permutation(len(NOUNS) + 1)
    opening = OPENINGS[int(rng.integers(len(OPENINGS)))]
    joint = int(rng.integers(len(JOINTS)))
    words = {name: _word(name, attributes, pick[name]) for name in chosen}
    adjective = words.pop("body", None)
    if adjective is not None and "{adjective}" not in opening:
        opening = "this {adjective}bird has"
    phrases = _phrases(words, noun, [("crest", *NOUNS)[index] for index in order])
    if not phrases:  # cannot be: at least two attributes are chosen and only one is an adjective of the bird
        raise AssertionError(f"no phrase for {sorted(chosen)}")
    text = opening.format(adjective=f"{adjective} " if adjective else "") + " " + _join(phrases, joint)
    return Caption(text, tuple(sorted(INDEX[name] for name in chosen)))


def swap_value(attributes: np.ndarray, name: str, value: str) -> np.ndarray:
    """``attributes`` with attribute ``name`` set to ``value``: caption it with the same generator for a swap."""
    changed = np.array(attributes)
    changed[INDEX[name]] = ATTRIBUTES[INDEX[name]].values.index(value)
    return changed


def contradicts(attributes: np.ndarray, caption_attributes: np.ndarray, mentioned: np.ndarray) -> bool:
    """Whether a caption of a bird with ``caption_attributes`` that names ``mentioned`` (A,) bool is false of
    a bird with ``attributes``."""
    return bool((mentioned & (attributes != caption_attributes)).any())


def parse(text: str) -> dict[str, str]:
    """What a caption of this grammar says: attribute name → value. The grammar's inverse, for checks."""
    colours = {word: colour for colour, words in COLOUR_WORDS.items() for word in words}
    shape_words = {word: shape for shape, words in SHAPE_WORDS.items() for word in words}
    nouns = {word: name for name, words in NOUNS.items() for word in words}
    said: dict[str, str] = {}
    pending: list[str] = []
    for token in text.replace(",", "").split():
        if token in colours or token in shape_words or token == "no":
            pending.append(token)
        elif token == "bird":
            for word in pending:
                said["body"] = shape_words[word]
            pending = []
        elif token == "crest":
            said["crest"] = "smooth" if "no" in pending else "crested"
            pending = []
        elif token in nouns:
            for word in pending:
                if word in colours:
                    said[nouns[token]] = colours[word]
                else:
                    said["beak shape" if nouns[token] == "beak" else "wing pattern"] = shape_words[word]
            pending = []
    return said


def _word(name: str, attributes: np.ndarray, synonym: int) -> str:
    attribute = ATTRIBUTES[INDEX[name]]
    value = attribute.values[int(attributes[INDEX[name]])]
    if name == "crest":
        return "a crest" if value == "crested" else "no crest"
    words = COLOUR_WORDS[value] if attribute.colour else SHAPE_WORDS[value]
    return words[synonym % len(words)]


def _phrases(words: dict[str, str], noun: dict[str, int], order: list[str]) -> list[str]:
    shapes = {"beak": words.pop("beak shape", None), "wing": words.pop("wing pattern", None)}
    phrases = []
    for name in order:
        if name == "crest":
            if "crest" in words:
                phrases.append(words["crest"])
            continue
        described = [word for word in (shapes.get(name), words.get(name)) if word]
        if not described:
            continue
        thing = NOUNS[name][noun[name] % len(NOUNS[name])]
        phrase = " ".join([*described, thing])
        if thing not in PLURAL:
            phrase = ("an " if phrase[0] in "aeiou" else "a ") + phrase
        phrases.append(phrase)
    return phrases


def _join(phrases: list[str], joint: int) -> str:
    if len(phrases) == 1:
        return phrases[0]
    between = ", " if len(phrases) > 2 else JOINTS[1]
    if joint == 2 and len(phrases) > 2:
        return ", ".join(phrases[:-1]) + ", and " + phrases[-1]
    return between.join(phrases[:-1]) + (" and " if joint == 0 else " and also ") + phrases[-1]


WORDS: tuple[str, ...] = tuple(
    sorted(
        {
            *_FILLER.split(),
            *(
                word
                for words in (*COLOUR_WORDS.values(), *SHAPE_WORDS.values(), *NOUNS.values())
                for word in words
            ),
        }
    )
)
