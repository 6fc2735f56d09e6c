"""A folder of images with ``metadata.jsonl``: one object a line, ``file_name`` and ``text`` (one caption or a list).

The layout that image data sets are commonly shared in. ``class_id`` is read where it is given; without it every
image is a class of its own.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.batch import Item
from reference_models.dmgan.data.images import open_image, prepare
from reference_models.dmgan.data.open import split_folder
from reference_models.dmgan.data.sentences import choose, class_number, known_captions, shorten, text_lines
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError

METADATA = "metadata.jsonl"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Entry:
    """One line of ``metadata.jsonl``."""

    file_name: str
    captions: tuple[str, ...]
    class_id: int


class ImageFolder:
    """One split: ``root/<split>`` where there is one, else ``root``. Implements ``CaptionedImages``.

    The vocabulary is ``root/vocabulary.json`` where it is there, else every word of every split in the order of
    first sight: train, validation, test.
    """

    def __init__(self, root: Path | str, split: str, *, size: int = 256, max_words: int = 18) -> None:
        root = Path(root)
        self.folder = split_folder(root, split, METADATA)
        self.size, self.max_words = size, max_words
        entries = read_metadata(self.folder)
        stored = root / "vocabulary.json"
        if stored.is_file():
            self.vocabulary = Vocabulary.from_json(stored)
        else:
            others = [root / name for name in SPLITS if (root / name / METADATA).is_file()]
            seen = [read_metadata(other) for other in others] if self.folder != root else [entries]
            self.vocabulary = Vocabulary.from_captions(
                text for part in seen for entry in part for text in entry.captions
            )
        self.entries = entries
        self._captions = [known_captions(entry.captions, self.vocabulary) for entry in entries]
        for entry, captions in zip(entries, self._captions):
            if not captions:
                raise DataError(
                    f"{self.folder / METADATA}: {entry.file_name!r} has no caption with a known word"
                )

    def __len__(self) -> int:
        return len(self.entries)

    def class_id(self, index: int) -> int:
        """The class of image ``index``."""
        return self.entries[index].class_id

    def texts(self, index: int) -> list[str]:
        """All captions of image ``index`` that hold a known word."""
        return list(self._captions[index])

    def item(self, index: int, rng: np.random.Generator, *, train: bool) -> Item:
        """Image ``index``; in training any of its captions, a random crop and a random flip."""
        if not 0 <= index < len(self):
            raise DataError(f"`index` must be in 0..{len(self) - 1}, got {index}")
        entry = self.entries[index]
        text = choose(self._captions[index], rng, train=train)
        image = open_image(self.folder / entry.file_name)
        return Item(
            image=prepare(image, self.size, rng if train else None),
            caption=shorten(self.vocabulary.encode(text), self.max_words, rng),
            text=text,
            class_id=entry.class_id,
            key=entry.file_name,
        )


def read_metadata(folder: Path) -> list[Entry]:
    """The entries of ``metadata.jsonl``; what is wrong is told with the line."""
    path = folder / METADATA
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: one object a line, with file_name and text")
    entries = []
    for place, line in text_lines(path):
        entries.append(_entry(line, f"{path}, line {place}"))
    if not entries:
        raise DataError(f"{path} is empty")
    # An image without a class has one of its own, which no image was given.
    free = itertools.count(max((class_id for _, class_id in entries if class_id is not None), default=-1) + 1)
    return [replace(entry, class_id=next(free) if given is None else given) for entry, given in entries]


def _entry(line: str, where: str) -> tuple[Entry, int | None]:
    try:
        values = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where}: expected a JSON object, got {line[:60]!r} ({error})") from error
    if not isinstance(values, dict) or not isinstance(values.get("file_name"), str):
        raise DataError(f"{where}: expected an object with 'file_name' and 'text', got {line[:60]!r}")
    text = values.get("text")
    captions = [text] if isinstance(text, str) else text
    if not isinstance(captions, list) or not captions or not all(isinstance(one, str) for one in captions):
        raise DataError(f"{where}: 'text' must be a caption or a list of captions, got {text!r}")
    name = Path(values["file_name"])
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"{where}: 'file_name' must lie inside the folder, got {values['file_name']!r}")
    try:
        class_id = class_number(values["class_id"]) if "class_id" in values else None
    except ValueError as error:
        raise DataError(f"{where}: 'class_id' {error}") from error
    return Entry(values["file_name"], tuple(captions), class_id or 0), class_id
