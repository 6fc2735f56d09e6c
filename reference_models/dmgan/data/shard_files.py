"""The files behind a sharded data set: the index, copies of remote shards, and where each sample lies in its tar."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reference_models.dmgan.data.images import SUFFIXES
from reference_models.dmgan.data.open import split_folder
from reference_models.dmgan.data.sentences import class_number
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import write_atomically

INDEX = "shards.json"  # {"shards": [{"url", "samples"}]}, beside vocabulary.json
VOCABULARY = "vocabulary.json"
ADDRESSES = ("http://", "https://", "file://")
PIPE = "pipe:"
PIPES_ALLOWED = "MEMGAN_PIPES"  # environment: an index comes with the data, and must not run commands unasked
TIMEOUT = 60  # seconds without an answer


@dataclass(frozen=True)
class Shard:
    """One entry of the index."""

    url: str  # a path, an address or a pipe, ready to be opened
    samples: int | None  # None: no index said how many


@dataclass(frozen=True)
class Place:
    """One sample: where its image's bytes are, and what is said of it."""

    shard: int
    offset: int
    size: int
    key: str
    captions: tuple[str, ...]
    class_id: int | None


def folder_of(root: Path | str, split: str) -> str:
    """``root/<split>`` where there is one, else ``root``: a path or an address."""
    if not str(root).startswith(ADDRESSES):
        return str(split_folder(Path(root), split, INDEX, "*.tar"))
    inside = f"{str(root).rstrip('/')}/{split}"
    with suppress(DataError), _opened(f"{inside}/{INDEX}"):
        return inside
    return str(root).rstrip("/")


def read_index(folder: str) -> list[Shard]:
    """The entries of ``shards.json``; a local folder without one: its tar files, in the order of their names.

    Raises:
        FileNotFoundError: there is neither.
        DataError: the index is damaged, or cannot be fetched.
    """
    path = f"{folder}/{INDEX}"
    if not folder.startswith(ADDRESSES) and not Path(path).is_file():
        tars = sorted(Path(folder).glob("*.tar"))
        if not tars:
            raise FileNotFoundError(
                f"there is no {path} and no tar file beside it: `data shard` writes an index beside its shards"
            )
        return [Shard(str(tar), None) for tar in tars]
    try:
        entries = json.loads(_read(path))["shards"]
        found = [Shard(_join(folder, str(entry["url"])), int(entry["samples"])) for entry in entries]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} must hold {{'shards': [{{'url', 'samples'}}, ...]}} ({error!r})") from error
    if not found:
        raise DataError(f"{path} lists no shard")
    return found


def read_vocabulary(folder: str) -> Vocabulary | None:
    """``vocabulary.json`` of the folder, None where there is none."""
    path = f"{folder}/{VOCABULARY}"
    if not folder.startswith(ADDRESSES):
        return Vocabulary.from_json(path) if Path(path).is_file() else None
    return Vocabulary.from_words(_read(path), path)


def places_of(shard: Shard, number: int, cache: Path) -> tuple[Path, list[Place]]:
    """The shard as a local file, and its samples. A damaged copy of a remote shard is fetched once more.

    Raises:
        FileNotFoundError: a local shard is missing.
        DataError: it cannot be fetched, is damaged, or has not as many samples as the index says.
    """
    if not shard.url.startswith((*ADDRESSES, PIPE)):
        path = Path(shard.url)
        if not path.is_file():
            raise FileNotFoundError(f"shard {path} is missing, though {path.parent / INDEX} lists it")
        return path, _counted(path, shard, number)
    path = cache / f"{hashlib.sha256(shard.url.encode()).hexdigest()[:16]}.tar"
    if path.is_file():
        with suppress(DataError):
            return path, _counted(path, shard, number)
        path.unlink(missing_ok=True)
    with write_atomically(path) as temporary:
        _copy(shard.url, temporary)
        _counted(temporary, shard, number)  # what is damaged never gets into the cache
    return path, _counted(path, shard, number)


def _counted(path: Path, shard: Shard, number: int) -> list[Place]:
    places = _places(path, shard.url, number)
    if shard.samples is not None and len(places) != shard.samples:
        raise DataError(f"shard {shard.url} holds {len(places)} samples, but {INDEX} says {shard.samples}")
    return places


def _copy(url: str, to: Path) -> None:
    with open(to, "wb") as file:
        if not url.startswith(PIPE):
            with _opened(url) as answer:
                shutil.copyfileobj(answer, file)
            return
        if os.environ.get(PIPES_ALLOWED) != "1":
            raise DataError(
                f"shard {url} is a command, which the index of a data set must not run unasked: "
                f"set {PIPES_ALLOWED}=1 if you trust it"
            )
        try:
            subprocess.run(shlex.split(url.removeprefix(PIPE)), stdout=file, check=True)
        except (subprocess.CalledProcessError, OSError, ValueError) as error:
            raise DataError(f"shard {url} cannot be read: {error}") from error


@contextmanager
def _opened(url: str) -> Iterator[BinaryIO]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            yield answer
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DataError(f"{url} cannot be read: {error}") from error


def _read(path: str) -> bytes:
    if not path.startswith(ADDRESSES):
        return Path(path).read_bytes()
    with _opened(path) as answer:
        return answer.read()


def _join(folder: str, url: str) -> str:
    if url.startswith((*ADDRESSES, PIPE)):
        return url
    return (
        urllib.parse.urljoin(f"{folder}/", url) if folder.startswith(ADDRESSES) else str(Path(folder) / url)
    )


def _places(path: Path, name: str, number: int) -> list[Place]:
    """The samples in the order of the tar: members with the same name up to the first dot, as WebDataset has it."""
    images: dict[str, tarfile.TarInfo] = {}
    told: dict[str, dict] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, base = os.path.split(member.name)
                key, _, suffix = base.partition(".")
                key = os.path.join(folder, key)
                if f".{suffix.lower()}" in SUFFIXES:
                    images[key] = member
                elif suffix in ("json", "txt", "cls"):
                    content = tar.extractfile(member)
                    assert content is not None
                    told.setdefault(key, {}).update(
                        _said(suffix, content.read(), f"shard {name}: {member.name}")
                    )
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"shard {name} is truncated or damaged ({error})") from error
    alone = sorted(set(images) ^ set(told))
    if alone:
        lacks = "no json and no txt" if alone[0] in images else "no image"
        raise DataError(f"shard {name}: {alone[0]!r} has {lacks}")
    places = []
    for key, member in images.items():
        captions = told[key].get("captions")
        if not captions:
            raise DataError(f"shard {name}: {key!r} has no caption in its json or txt")
        class_id = told[key].get("class_id")
        places.append(Place(number, member.offset_data, member.size, key, captions, class_id))
    return places


def _said(suffix: str, content: bytes, where: str) -> dict:
    """``json``: ``captions`` or ``caption`` or ``text`` (one or a list) and ``class_id``; ``txt``: captions, one a
    line; ``cls``: the class."""
    try:
        text = content.decode("utf-8")
        if suffix == "cls":
            return {"class_id": class_number(int(text))}
        if suffix == "txt":
            return {"captions": tuple(line.strip() for line in text.splitlines() if line.strip())}
        values = json.loads(text)
        captions = next((values[name] for name in ("captions", "caption", "text") if name in values), None)
        listed = (captions,) if isinstance(captions, str) else tuple(captions or ())
        if not all(isinstance(caption, str) for caption in listed):
            raise ValueError(f"captions must be text, got {captions!r}")
        said: dict = {"captions": listed} if listed else {}
        if "class_id" in values:
            said["class_id"] = class_number(values["class_id"])
        return said
    except (RecursionError, TypeError, ValueError) as error:  # of JSON and UTF-8 too
        raise DataError(f"{where} cannot be read: {error}") from error
