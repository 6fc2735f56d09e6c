"""``data check``: what a folder holds, and everything that is wrong with it, before a training meets it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.folder import ImageFolder
from reference_models.dmgan.data.open import open_folder, told_layout
from reference_models.dmgan.data.released_layout import ReleasedLayout, caption_lines
from reference_models.dmgan.data.shard_files import folder_of
from reference_models.dmgan.data.shards import ShardedImages
from reference_models.dmgan.data.vocabulary import tokenize
from reference_models.dmgan.errors import DataError, DmganError

SPLITS = ("train", "validation", "test")
SHOWN = 10  # faults of one kind of a split that are printed

Files = ReleasedLayout | ImageFolder | ShardedImages


@dataclass
class Checked:
    """What was found."""

    layout: str
    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def tell(self, split: str, faults: Iterable[str]) -> None:
        """Add faults of one kind: the first few, and how many more there are."""
        every = list(faults)
        self.faults += [f"{split}: {fault}" for fault in every[:SHOWN]]
        if len(every) > SHOWN:
            self.faults.append(f"{split}: and {len(every) - SHOWN} more")


def check(root: Path | str, *, layout: str | None = None, size: int = 64) -> Checked:
    """Open every image and caption of every split of ``root``."""
    result = Checked(layout or told_layout(root))
    opened: dict[str, Files] = {}
    for split in _splits(root) or ["train"]:
        try:
            images = open_folder(root, split, layout=result.layout, size=size)
        except (DmganError, FileNotFoundError) as error:
            result.faults.append(f"{split}: {error}")
            continue
        assert isinstance(images, Files)
        opened[split] = images
        _check_split(images, split, result)
    _compare_splits(opened, result)
    return result


def _splits(root: Path | str) -> list[str]:
    if isinstance(root, str):  # an address
        return [name for name in SPLITS if folder_of(root, name).endswith(f"/{name}")]
    return [name for name in SPLITS if (root / name).is_dir()]


def _check_split(images: Files, split: str, result: Checked) -> None:
    classes: set[int] = set()
    faults = []
    for index in range(len(images)):
        try:
            classes.add(images.item(index, np.random.default_rng(index), train=False).class_id)
        except (DmganError, FileNotFoundError) as error:
            faults.append(str(error))
    readable = len(images) - len(faults)
    result.lines.append(f"{split}: {readable} of {len(images)} images can be read, {len(classes)} classes")
    captions = [images.texts(index) for index in range(len(images))]
    words = [len(images.vocabulary.encode(text)) for texts in captions for text in texts]
    told = [f"{_spread(map(len, captions))} captions an image" if words else "no caption"]
    if words:
        told.append(f"{_spread(words)} words a caption, {np.mean(words):.1f} on average")
        told.append(f"a vocabulary of {len(images.vocabulary) - 1}")
    result.lines.append(f"{split}: {'; '.join(told)}")
    result.tell(split, faults)
    result.tell(split, _twice(images))
    if isinstance(images, ReleasedLayout) and images.from_pickle:
        result.tell(split, _other_texts(images))


def _spread(counts: Iterable[int]) -> str:
    every = sorted(counts)
    return f"{every[0]}" if every[0] == every[-1] else f"{every[0]} to {every[-1]}"


def keys_of(images: Files) -> list[str]:
    """The images' names."""
    return [entry.file_name for entry in images.entries] if isinstance(images, ImageFolder) else images.keys


def _twice(images: Files) -> Iterator[str]:
    for key, count in Counter(keys_of(images)).items():
        if count > 1:
            yield f"{key!r} is listed {count} times"


def _other_texts(images: ReleasedLayout) -> Iterator[str]:
    """Captions of the text files that are not those of ``captions.pickle``: its ids would mean other words."""
    for index, key in enumerate(images.keys):
        path = images.root / "text" / f"{key}.txt"
        if not path.is_file():
            continue  # only the pickle is needed
        try:
            lines = caption_lines(path)
        except DataError as error:
            yield str(error)
            continue
        written = [(place, text) for place, text in lines if tokenize(text)]
        for (place, text), ids in zip(written, images.captions[index]):
            stored = images.vocabulary.decode(ids)
            if tokenize(text) != stored.split():
                yield f"{path}, line {place}: {text!r} there, {stored!r} in captions.pickle"
                break  # one line tells enough of a file


def _compare_splits(opened: dict[str, Files], result: Checked) -> None:
    """Images and classes that two splits share; an image in both is a fault, a class is worth knowing."""
    names = list(opened)
    for place, one in enumerate(names):
        for two in names[place + 1 :]:
            both = sorted(set(keys_of(opened[one])) & set(keys_of(opened[two])))
            if result.layout in ("cub", "coco", "flowers"):  # elsewhere each split has files of its own
                result.tell(f"{one} and {two}", (f"both hold the image {key!r}" for key in both))
            if opened[one].vocabulary != opened[two].vocabulary:
                result.faults.append(
                    f"{one} and {two}: their vocabularies differ, so the ids of words do too"
                )
