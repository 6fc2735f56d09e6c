"""Image files and their captions → shards, the files' bytes as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reference_models.dmgan.data.folder import ImageFolder
from reference_models.dmgan.data.open import told_layout
from reference_models.dmgan.data.released_layout import ReleasedLayout
from reference_models.dmgan.data.shards import Sample, write_shards
from reference_models.dmgan.errors import DataError


def shard_folder(root: Path, split: str, out: Path, *, per_shard: int = 1000) -> list[Path]:
    """Write the split's images to ``out/<split>``. CUB's images are not cropped: its boxes do not go along."""
    layout = told_layout(root)
    if layout == "shards":
        raise DataError(f"{root} holds shards already")
    if layout == "folder":
        images = ImageFolder(root, split)
        samples = _folder(images)
        vocabulary = images.vocabulary
    else:
        released = ReleasedLayout(root, split, layout=layout)
        samples, vocabulary = _released(released), released.vocabulary
    return write_shards(samples, out / split, vocabulary, per_shard=per_shard)


def _folder(images: ImageFolder) -> Iterator[Sample]:
    for number, entry in enumerate(images.entries):
        path = images.folder / entry.file_name
        yield Sample(f"{number:08d}", path.read_bytes(), path.suffix.lower(), entry.captions, entry.class_id)


def _released(images: ReleasedLayout) -> Iterator[Sample]:
    for index, key in enumerate(images.keys):
        captions = tuple(images.vocabulary.decode(ids) for ids in images.captions[index])
        name = key.replace("/", "_").replace(".", "_")
        yield Sample(name, images.path(index).read_bytes(), ".jpg", captions, images.class_ids[index])
