"""WebDataset shards: tar files of ``<key>.png|jpg`` beside ``<key>.json`` with captions and class.

Shards are indexed, not streamed: a sample's place in its tar is known, so an epoch has one order for any number of
ranks and workers, each sample comes once, and a run resumes in the middle of an epoch. A shard behind a URL or a
``pipe:`` command is copied to the cache first, whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from reference_models.dmgan.data.batch import Item
from reference_models.dmgan.data.images import SUFFIXES, prepare
from reference_models.dmgan.data.sentences import choose, known_captions, shorten
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import write_atomically

INDEX = "shards.json"  # {"shards": [{"url", "samples"}]}, beside vocabulary.json


@dataclass(frozen=True)
class Sample:
    """What goes into a shard."""

    key: str
    image: bytes  # a PNG or JPEG file
    suffix: str  # .png or .jpg
    captions: tuple[str, ...]
    class_id: int


@dataclass(frozen=True)
class _Place:
    shard: int
    offset: int
    size: int
    key: str
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
    vocabulary.to_json(out / "vocabulary.json")
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
        root: a folder with ``shards.json``; ``root/<split>`` where there is one. Its URLs are paths beside it,
            ``http(s):`` or ``file:`` addresses, or ``pipe:`` commands.
        cache_folder: where remote shards are copied to; None: ``MEMGAN_CACHE`` or ``~/.cache/memgan``, ``shards``.
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
        root = Path(root)
        self.folder = root / split if (root / split).is_dir() else root
        self.size, self.max_words = size, max_words
        cache = (
            cache_folder
            or Path(os.environ.get("MEMGAN_CACHE") or Path.home() / ".cache" / "memgan") / "shards"
        )
        self.shards: list[Path] = []
        self._places: list[_Place] = []
        for entry in read_index(self.folder):
            path = fetch(entry["url"], self.folder, cache)
            places = _index(path, len(self.shards))
            if len(places) != entry["samples"]:
                raise DataError(f"{path} holds {len(places)} samples, but {INDEX} says {entry['samples']}")
            self.shards.append(path)
            self._places += places
        self.vocabulary = Vocabulary.from_json(self.folder / "vocabulary.json")
        self._captions = [known_captions(place.captions, self.vocabulary) for place in self._places]

    def __len__(self) -> int:
        return len(self._places)

    @property
    def keys(self) -> list[str]:
        """The samples' names."""
        return [place.key for place in self._places]

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
        try:
            with Image.open(io.BytesIO(content)) as image:
                pixels = prepare(image.convert("RGB"), self.size, rng if train else None)
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise DataError(
                f"{path}: the image of {place.key!r} is truncated or damaged ({error})"
            ) from error
        ids = shorten(self.vocabulary.encode(text), self.max_words, rng)
        return Item(image=pixels, caption=ids, text=text, class_id=place.class_id, key=place.key)


def read_index(folder: Path) -> list[dict]:
    """The entries of ``shards.json``."""
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: `data shard` writes one beside its shards")
    try:
        entries = json.loads(path.read_text())["shards"]
        return [{"url": str(entry["url"]), "samples": int(entry["samples"])} for entry in entries]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} must hold {{'shards': [{{'url', 'samples'}}, ...]}} ({error!r})") from error


def fetch(url: str, folder: Path, cache: Path) -> Path:
    """The shard as a file: itself where it is local, else a copy in ``cache``."""
    remote = url.startswith(("http://", "https://", "file://", "pipe:"))
    if not remote:
        path = folder / url
        if not path.is_file():
            raise FileNotFoundError(f"shard {path} is missing, though {folder / INDEX} lists it")
        return path
    copy = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.tar"
    if copy.is_file():
        return copy
    try:
        with write_atomically(copy) as temporary, open(temporary, "wb") as file:
            if url.startswith("pipe:"):
                command = shlex.split(url.removeprefix("pipe:"))
                subprocess.run(command, stdout=file, check=True)
            else:
                with urllib.request.urlopen(url) as answer:
                    shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, subprocess.CalledProcessError, FileNotFoundError) as error:
        raise DataError(f"shard {url} cannot be read: {error}") from error
    return copy


def _index(path: Path, shard: int) -> list[_Place]:
    """Where each sample's image lies in the tar, in the order of the tar."""
    images: dict[str, tarfile.TarInfo] = {}
    told: dict[str, dict] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, suffix = os.path.splitext(member.name)
                if suffix == ".json":
                    file = tar.extractfile(member)
                    assert file is not None
                    told[key] = json.load(file)
                elif suffix.lower() in SUFFIXES:
                    images[key] = member
    except (tarfile.TarError, json.JSONDecodeError, EOFError) as error:
        raise DataError(f"shard {path} is truncated or damaged ({error})") from error
    alone = sorted(set(images) ^ set(told))
    if alone:
        raise DataError(f"shard {path}: {alone[0]!r} has {'no json' if alone[0] in images else 'no image'}")
    places = []
    for key, member in images.items():
        captions, class_id = told[key].get("captions"), told[key].get("class_id", 0)
        if not isinstance(captions, list) or not captions:
            raise DataError(f"shard {path}: {key}.json must hold a list of captions, got {captions!r}")
        places.append(_Place(shard, member.offset_data, member.size, key, tuple(captions), int(class_id)))
    return places
