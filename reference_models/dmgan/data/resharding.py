"""Image files and their captions → shards, the files' bytes as they are, or CUB's cut to their boxes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from reference_models.dmgan.data.folder import ImageFolder
from reference_models.dmgan.data.images import SUFFIXES
from reference_models.dmgan.data.open import told_layout
from reference_models.dmgan.data.released_layout import ReleasedLayout
from reference_models.dmgan.data.shards import Sample, write_shards
from reference_models.dmgan.errors import ConfigError, DataError


def shard_folder(
    root: Path | str, split: str, out: Path, *, per_shard: int = 1000, crop: bool = False
) -> list[Path]:
    """Write the split's images to ``out/<split>``.

    Args:
        crop: CUB's images become the squares around their boxes, as training sees them, as PNG; without it they stay
            whole, and the boxes do not go along.

    Raises:
        DataError: an image could not be read from a shard: it is of another kind, or named like another.
        FileNotFoundError: an image is missing.
        ConfigError: ``crop``, and there are no boxes.
    """
    layout = told_layout(root)
    if layout == "shards":
        raise DataError(f"{root} holds shards already")
    if layout == "folder":
        images = ImageFolder(root, split)
        paths = [images.folder / entry.file_name for entry in images.entries]
        names = [f"{number:08d}" for number in range(len(paths))]
        samples, vocabulary, boxes = _folder(images, paths, names), images.vocabulary, None
    else:
        released = ReleasedLayout(root, split, layout=layout)
        paths = [released.path(index) for index in range(len(released))]
        names = [key.replace("/", "_").replace(".", "_") for key in released.keys]
        samples, vocabulary = _released(released, names, crop), released.vocabulary
        boxes = released.boxes
    if crop and boxes is None:
        raise ConfigError(f"`--crop` cuts images to CUB's boxes, and {root} has none")
    _check(paths, names)
    return write_shards(samples, out / split, vocabulary, per_shard=per_shard)


def _check(paths: list[Path], names: list[str]) -> None:
    """Before anything is written: what a shard could not give back."""
    seen: dict[str, Path] = {}
    for path, name in zip(paths, names):
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path} cannot be in a shard: images there are {', '.join(SUFFIXES)}")
        if not path.is_file():
            raise FileNotFoundError(f"there is no image {path}")
        if name in seen:
            raise DataError(f"{seen[name]} and {path} would both be called {name!r} in a shard: rename one")
        seen[name] = path


def _folder(images: ImageFolder, paths: list[Path], names: list[str]) -> Iterator[Sample]:
    for entry, path, name in zip(images.entries, paths, names):
        yield Sample(name, path.read_bytes(), path.suffix.lower(), entry.captions, entry.class_id)


def _released(images: ReleasedLayout, names: list[str], crop: bool) -> Iterator[Sample]:
    for index, name in enumerate(names):
        captions, class_id = tuple(images.texts(index)), images.class_ids[index]
        if crop:
            file = io.BytesIO()
            images.picture(index).save(file, format="PNG")
            yield Sample(name, file.getvalue(), ".png", captions, class_id)
        else:
            yield Sample(name, images.path(index).read_bytes(), ".jpg", captions, class_id)
