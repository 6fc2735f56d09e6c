"""What every data set of files does with its text: lines, captions, classes."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that hold something, stripped, each with its number from 1.

    A newline alone ends a line: Unicode's other line breaks may stand in a caption.

    Raises:
        DataError: a line is not UTF-8; the message names it.
    """
    for place, line in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {place}: expected UTF-8 text ({error.reason})") from error
        if text:
            yield place, text


def class_number(value: object) -> int:
    """A class as a tensor can hold it; ValueError for what is no whole number of 64 bits."""
    if not isinstance(value, int):
        raise ValueError(f"must be a whole number, got {value!r}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"must be a whole number of at most 64 bits, got {value}")
    return value


def choose(captions: Sequence[str], rng: np.random.Generator, *, train: bool) -> str:
    """One of an image's captions: any in training, else the first."""
    return captions[int(rng.integers(len(captions))) if train else 0]


def shorten(ids: Sequence[int], most: int, rng: np.random.Generator) -> tuple[int, ...]:
    """At most ``most`` ids; a longer caption is sub-sampled at random, its order kept."""
    if len(ids) <= most:
        return tuple(ids)
    kept = np.sort(rng.permutation(len(ids))[:most])
    return tuple(ids[index] for index in kept)


def known_captions(captions: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """Those that hold a known word: the others cannot be encoded, and are left out as the release does."""
    return [text for text in captions if vocabulary.encode(text)]
