"""WebDataset shards: tar files of ``<key>.png|jpg`` beside ``<key>.json`` with captions and class.

Shards are indexed, not streamed: a sample's place in its tar is known, so an epoch has one order for any number of
ranks and workers, each sample comes once, and a run resumes in the middle of an epoch. A shard behind a URL or a
``pipe:`` command is copied to the cache first, whole or not at all.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.batch import Item
from reference_models.dmgan.data.images import decode, prepare
from reference_models.dmgan.data.sentences import choose, known_captions, shorten
from reference_models.dmgan.data.shard_files import (
    INDEX,
    VOCABULARY,
    Place,
    folder_of,
    places_of,
    read_index,
    read_vocabulary,
)
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import write_atomically


@dataclass(frozen=True)
class Sample:
    """What goes into a shard."""

    key: str
    image: bytes  # a PNG or JPEG file
    suffix: str  # .png or .jpg
    captions: tuple[str, ...]
    class_id: int


def write_shards(
    samples: Iterable[Sample], out: Path, vocabulary: Vocabulary, *, per_shard: int = 1000
) -> list[Path]:
    """Write ``out/shard-000000.tar`` and so on, the vocabulary, and the index that says how many samples each has."""
    if per_shard < 1:
        raise DataError(f"`per_shard` must be at least 1, got {per_shard}")
    paths, counts = [], []
    for number, part in enumerate(_groups(samples, per_shard)):
        path = out / f"shard-{number:06d}.tar"
        with write_atomically(path) as temporary, tarfile.open(temporary, "w") as tar:
            for sample in part:
                told = {"captions": list(sample.captions), "class_id": sample.class_id}
                _add(tar, f"{sample.key}{sample.suffix}", sample.image)
                _add(tar, f"{sample.key}.json", json.dumps(told, ensure_ascii=False).encode())
        paths.append(path)
        counts.append(len(part))
    vocabulary.to_json(out / VOCABULARY)
    index = {"shards": [{"url": path.name, "samples": count} for path, count in zip(paths, counts)]}
    with write_atomically(out / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=1) + "\n")
    return paths


def _groups(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


class ShardedImages:
    """All samples of a folder of shards: implements :class:`~...data.batch.CaptionedImages`.

    Args:
        root: a folder or an address (``https:``, ``file:``) with ``shards.json``, or a folder of tar files;
            ``root/<split>`` where there is one. The index lists paths beside it, addresses, or ``pipe:`` commands,
            which run only where the environment has ``MEMGAN_PIPES=1``.
        cache_folder: where remote shards are copied to; None: ``MEMGAN_CACHE`` or ``~/.cache/memgan``, ``shards``.

    Raises:
        FileNotFoundError: no index and no tar, or a shard that the index lists is missing.
        DataError: a shard is damaged, cannot be fetched, or holds not as many samples as the index says.
    """

    def __init__(
        self,
        root: Path | str,
        split: str,
        *,
        size: int = 256,
        max_words: int = 18,
        cache_folder: Path | None = None,
    ) -> None:
        self.folder = folder_of(root, split)
        self.size, self.max_words = size, max_words
        cache = (
            cache_folder
            or Path(os.environ.get("MEMGAN_CACHE") or Path.home() / ".cache" / "memgan") / "shards"
        )
        self.shards: list[Path] = []
        self._places: list[Place] = []
        for number, shard in enumerate(read_index(self.folder)):
            path, places = places_of(shard, number, cache)
            self.shards.append(path)
            self._places += places
        self.vocabulary = read_vocabulary(self.folder) or Vocabulary.from_captions(
            text for place in self._places for text in place.captions
        )
        self._captions = [known_captions(place.captions, self.vocabulary) for place in self._places]

    def __len__(self) -> int:
        return len(self._places)

    @property
    def keys(self) -> list[str]:
        """The samples' names."""
        return [place.key for place in self._places]

    def class_id(self, index: int) -> int:
        """The class of sample ``index``; without classes each is its own."""
        given = self._places[index].class_id
        return index if given is None else given

    def texts(self, index: int) -> list[str]:
        """All captions of sample ``index`` that hold a known word."""
        return list(self._captions[index])

    def item(self, index: int, rng: np.random.Generator, *, train: bool) -> Item:
        """Sample ``index``; in training any of its captions, a random crop and a random flip."""
        if not 0 <= index < len(self):
            raise DataError(f"`index` must be in 0..{len(self) - 1}, got {index}")
        place, captions = self._places[index], self._captions[index]
        path = self.shards[place.shard]
        if not captions:
            raise DataError(f"{path}: {place.key!r} has no caption with a known word")
        text = choose(captions, rng, train=train)
        with open(path, "rb") as file:
            file.seek(place.offset)
            content = file.read(place.size)
        image = decode(io.BytesIO(content), f"the image of {place.key!r} in {path}")
        pixels = prepare(image, self.size, rng if train else None)
        ids = shorten(self.vocabulary.encode(text), self.max_words, rng)
        return Item(image=pixels, caption=ids, text=text, class_id=self.class_id(index), key=place.key)
