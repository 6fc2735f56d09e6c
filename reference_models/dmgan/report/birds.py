"""What only the embedded birds allow: captions of held-out species, the real bird of a caption, one-word swaps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from reference_models.dmgan.data.birds.attributes import ATTRIBUTES, INDEX
from reference_models.dmgan.data.birds.captions import COLOUR_WORDS, NOUNS, SHAPE_WORDS
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.data.birds.render import render
from reference_models.dmgan.data.birds.scene import independent_attributes, sample_scene
from reference_models.dmgan.data.vocabulary import tokenize
from reference_models.dmgan.report.data import Finding, Swap
from reference_models.dmgan.report.explain import explain
from reference_models.dmgan.sampling import SampledModel

_COLOUR_OF = {word: colour for colour, words in COLOUR_WORDS.items() for word in words}
_SHAPE_OF = {word: shape for shape, words in SHAPE_WORDS.items() for word in words}
_PART_OF = {word: part for part, words in NOUNS.items() for word in words} | {"wing": "wing"}
_SHAPE_NAME = {"beak": "beak shape", "wing": "wing pattern", "bird": "body"}


def held_out_captions(count: int, *, seed: int = 0) -> list[str]:
    """The first caption of the first ``count`` test images: each of another species, none seen in training."""
    birds = Birds("test", seed=seed, images=count, cached=False)
    return [birds.caption(index, 0).text for index in range(count)]


def said(caption: str) -> dict[str, str]:
    """What a caption in anyone's words says of a bird: attribute → value; what birds here cannot have is left out.

    >>> said("A red bird with a violet tail and long pink wings, no crest.")
    {'tail': 'purple', 'crest': 'smooth'}
    """
    found: dict[str, str] = {}
    pending: list[str] = []

    def keep(name: str, value: str | None) -> None:
        if value in ATTRIBUTES[INDEX[name]].values:
            found[name] = value

    for token in tokenize(caption):
        if token in _COLOUR_OF or token in _SHAPE_OF or token == "no":
            pending.append(token)
            continue
        part = "bird" if token == "bird" else _PART_OF.get(token)
        for word in pending if part else ():
            if part != "bird":
                keep(part, _COLOUR_OF.get(word))  # type: ignore[arg-type]
            if part in _SHAPE_NAME:
                keep(_SHAPE_NAME[part], _SHAPE_OF.get(word))
        if token == "crest":
            keep("crest", "smooth" if "no" in pending else "crested")
        if part or token in ("crest", "and", "with"):
            pending = []
    return found


def real_bird(caption: str, size: int, *, seed: int = 0) -> np.ndarray | None:
    """A render (size, size, 3) uint8 of what ``caption`` says; what it leaves open is drawn at random.

    None: the caption says nothing that the birds have.
    """
    known = said(caption)
    rng = np.random.default_rng([seed, 5, *caption.encode()])
    attributes = independent_attributes(rng)
    for name, value in known.items():
        attributes[INDEX[name]] = ATTRIBUTES[INDEX[name]].values.index(value)
    return render(sample_scene(attributes, rng), size) if known else None


def swapped(caption: str, rng: np.random.Generator) -> tuple[str, str, str, str] | None:
    """One colour word of ``caption`` changed: (new caption, word, replacement, attribute); None: there is none."""
    before = said(caption)
    words = tokenize(caption)
    choices = []
    for place, word in enumerate(words):
        after_article = place > 0 and words[place - 1] in ("a", "an")
        for other, colour in _COLOUR_OF.items():
            # "an orange beak" cannot become "an red beak": one word changes, so its article must fit as well.
            if word not in _COLOUR_OF or (after_article and (word[0] in "aeiou") != (other[0] in "aeiou")):
                continue
            text = re.sub(rf"\b{word}\b", other, caption, count=1, flags=re.IGNORECASE)
            after = said(text)
            changed = [name for name in before if after.get(name) != before[name]]
            if len(changed) == 1 and colour in ATTRIBUTES[INDEX[changed[0]]].values:
                choices.append((text, word, other, changed[0]))
    return choices[int(rng.integers(len(choices)))] if choices else None


def swaps(
    model: SampledModel, captions: Sequence[str], judge: nn.Module | None = None, *, seed: int = 0
) -> Iterator[Swap]:
    """For each caption with a colour: the same noise drawn with the caption and with one colour word changed."""
    for number, caption in enumerate(captions):
        found = swapped(caption, np.random.default_rng([seed, number]))
        if found is None:
            continue
        text, word, other, attribute = found
        old, new = explain(model, (caption, text), drawings=1, seed=seed)
        drawings = old.drawings[0], new.drawings[0]
        before, after = (drawing.images[-1] for drawing in drawings)
        findings = [] if judge is None else _findings(judge, before, after, said(text))
        yield Swap(
            caption,
            word,
            other,
            before,
            after,
            next((finding for finding in findings if finding.attribute == attribute), None),
            tuple(finding for finding in findings if finding.attribute != attribute),
            old.words,
            next((place for place, (a, b) in enumerate(zip(old.words, new.words)) if a != b), 0),
            drawings,
        )


def _findings(
    judge: nn.Module, before: np.ndarray, after: np.ndarray, asked: dict[str, str]
) -> list[Finding]:
    from reference_models.dmgan.evaluation.images import network_input, reduce_to
    from reference_models.dmgan.evaluation.judge import SIZE, Judge

    assert isinstance(judge, Judge)
    images = torch.from_numpy(np.stack([before, after])).permute(0, 3, 1, 2)
    answers = judge.answers(network_input(reduce_to(images, SIZE))).tolist()

    def seen(row: int, name: str) -> str:
        return ATTRIBUTES[INDEX[name]].values[answers[row][INDEX[name]]]

    return [Finding(name, value, seen(0, name), seen(1, name)) for name, value in asked.items()]
