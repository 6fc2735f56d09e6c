"""Words and their ids, by the release's token rule; kept as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import write_atomically

END = "<end>"  # id 0, which is also the padding


def tokenize(text: str) -> list[str]:
    r"""``\w+`` on lower case, then non-ASCII characters dropped: "Café au lait" → ["caf", "au", "lait"].

    The order is the release's. A token that loses all its characters is dropped.
    """
    tokens = (token.encode("ascii", "ignore").decode() for token in re.findall(r"\w+", text.lower()))
    return [token for token in tokens if token]


class Vocabulary:
    """An immutable list of words; a word's id is its place."""

    def __init__(self, words: Sequence[str]) -> None:
        words = tuple(words)
        if not words or words[0] != END:
            raise DataError(f"`words` must begin with {END!r}, got {words[:1]}")
        self.words = words
        self._ids = {word: index for index, word in enumerate(words)}
        if len(self._ids) != len(words):
            twice = next(word for index, word in enumerate(words) if self._ids[word] != index)
            raise DataError(f"`words` must not repeat, but {twice!r} stands there twice")

    @classmethod
    def from_captions(cls, captions: Iterable[str]) -> Vocabulary:
        """Every word of ``captions`` in the order of first sight, ids from 1."""
        seen = dict.fromkeys(token for text in captions for token in tokenize(text))
        return cls((END, *seen))

    def encode(self, text: str) -> list[int]:
        """The ids of the known words of ``text``; unknown words are dropped."""
        return self.encode_reporting(text)[0]

    def encode_reporting(self, text: str) -> tuple[list[int], list[str]]:
        """The ids of the known words of ``text``, and the unknown words."""
        tokens = tokenize(text)
        known = [self._ids[token] for token in tokens if token in self._ids]
        return known, [token for token in tokens if token not in self._ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Words up to the first ``<end>``, joined by spaces."""
        words = []
        for index in ids:
            if not 0 <= index < len(self.words):
                raise DataError(f"`ids` must be in 0..{len(self.words) - 1}, got {index}")
            if index == 0:
                break
            words.append(self.words[index])
        return " ".join(words)

    def to_json(self, path: Path | str) -> None:
        """Write ``{"words": [...]}``, whole or not at all."""
        with write_atomically(path) as temporary:
            temporary.write_text(
                json.dumps({"words": list(self.words)}, ensure_ascii=False), encoding="utf-8"
            )

    @classmethod
    def from_json(cls, path: Path | str) -> Vocabulary:
        """Read what :meth:`to_json` wrote."""
        return cls.from_words(Path(path).read_bytes(), path)

    @classmethod
    def from_words(cls, content: bytes, name: Path | str) -> Vocabulary:
        """The vocabulary whose file holds ``content``; ``name`` is what errors call it."""
        try:
            words = json.loads(content)["words"]
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise DataError(f"{name}: expected {{'words': [...]}} as JSON, got {error!r}") from error
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(f"{name}: 'words' must be a list of strings")
        return cls.named(words, name)

    @classmethod
    def named(cls, words: Sequence[str], name: Path | str) -> Vocabulary:
        """The vocabulary of ``words``, which were read from ``name``: errors say so."""
        try:
            return cls(words)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error

    def __len__(self) -> int:
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self.words)} words)"
