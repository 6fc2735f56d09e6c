"""One ``Batch`` for every data set: what the encoders, the generator and the losses are given.

Axis letters: B batch, T words of a caption with padding, A attributes, S image size in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reference_models.dmgan.errors import DataError

if TYPE_CHECKING:
    from reference_models.dmgan.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Item:
    """One image and one of its captions."""

    image: np.ndarray  # (S, S, 3) uint8, the largest size wanted
    caption: tuple[int, ...]  # word ids, at least one
    text: str
    class_id: int
    key: str  # the image's name in its data set
    attributes: np.ndarray | None = None  # (A,) int64: the truth, where it is known
    mentioned: np.ndarray | None = None  # (A,) bool: which attributes the caption names


@dataclass(frozen=True)
class Batch:
    """Images at every size with one caption each, in any order."""

    images: tuple[Tensor, ...]  # each (B, 3, S, S) float32 in [-1, 1], lowest size first
    captions: Tensor  # (B, T) int64, 0 behind the last word
    lengths: Tensor  # (B,) int64, at least 1
    class_ids: Tensor  # (B,) int64
    wrong_index: Tensor  # (B,) int64: whose caption does not fit image i; -1 where the batch has none
    texts: tuple[str, ...]
    keys: tuple[str, ...]
    attributes: Tensor | None = None  # (B, A) int64
    mentioned: Tensor | None = None  # (B, A) bool

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def word_mask(self) -> Tensor:
        """(B, T) bool, True for a real word."""
        positions = torch.arange(self.captions.shape[1], device=self.captions.device)
        return positions[None, :] < self.lengths[:, None]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch on ``device``."""
        names = ("captions", "lengths", "class_ids", "wrong_index", "attributes", "mentioned")
        moved = {
            name: value.to(device, non_blocking=non_blocking)
            for name in names
            if (value := getattr(self, name)) is not None
        }
        images = tuple(image.to(device, non_blocking=non_blocking) for image in self.images)
        return replace(self, images=images, **moved)

    def pin_memory(self) -> Batch:
        """Page-locked copies; ``DataLoader(pin_memory=True)`` calls this."""
        names = ("captions", "lengths", "class_ids", "wrong_index", "attributes", "mentioned")
        pinned = {name: value.pin_memory() for name in names if (value := getattr(self, name)) is not None}
        return replace(self, images=tuple(image.pin_memory() for image in self.images), **pinned)


class CaptionedImages(Protocol):
    """What a data set offers; every layout implements this and nothing more is asked of it."""

    vocabulary: Vocabulary

    def __len__(self) -> int: ...

    def item(self, index: int, rng: np.random.Generator, *, train: bool) -> Item:
        """Image ``index`` with a caption (and, when ``train``, a crop and a flip) drawn by ``rng``."""
        ...


def image_pyramid(images: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """uint8 (B, S, S, 3) → float32 (B, 3, s, s) in [-1, 1] for each ``s`` of ``sizes``, by area averaging."""
    largest = images.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1.0
    pyramid = []
    for size in sizes:
        if largest.shape[-1] == size:
            pyramid.append(largest.contiguous())
        elif largest.shape[-1] % size == 0:
            pyramid.append(F.avg_pool2d(largest, largest.shape[-1] // size))
        else:
            pyramid.append(F.interpolate(largest, (size, size), mode="bilinear", antialias=True))
    return tuple(pyramid)


def wrong_captions(
    class_ids: np.ndarray, attributes: np.ndarray | None = None, mentioned: np.ndarray | None = None
) -> np.ndarray:
    """For each image (B,) the index of a caption of the batch that is false of it, -1 where there is none.

    Where attributes are known the caption must contradict the image in an attribute that it mentions:
    another species' caption may well be literally true. Elsewhere another class must do. The search starts
    at the next image, as the release pairs them, so that every caption is used about equally often.
    """
    count = len(class_ids)
    if attributes is not None and mentioned is not None:
        differs = attributes[:, None, :] != attributes[None, :, :]  # (image, caption, A)
        false = (differs & mentioned[None, :, :]).any(-1)
    else:
        false = class_ids[:, None] != class_ids[None, :]
    wrong = np.full(count, -1, dtype=np.int64)
    for image in range(count):
        order = (image + 1 + np.arange(count - 1)) % count
        hits = order[false[image, order]]
        if len(hits):
            wrong[image] = hits[0]
    return wrong


def collate(items: Sequence[Item], sizes: Sequence[int]) -> Batch:
    """Items → one :class:`Batch` with images at ``sizes`` (pixels, lowest first)."""
    if not items:
        raise DataError("`items` must hold at least one item, got none")
    for item in items:
        if not item.caption:
            raise DataError(f"the caption of {item.key!r} has no known word: {item.text!r}")
    lengths = np.array([len(item.caption) for item in items])
    captions = np.zeros((len(items), lengths.max()), dtype=np.int64)
    for row, item in enumerate(items):
        captions[row, : lengths[row]] = item.caption
    class_ids = np.array([item.class_id for item in items], dtype=np.int64)
    known = all(item.attributes is not None and item.mentioned is not None for item in items)
    attributes = np.stack([item.attributes for item in items]) if known else None  # type: ignore[misc]
    mentioned = np.stack([item.mentioned for item in items]) if known else None  # type: ignore[misc]
    return Batch(
        images=image_pyramid(torch.from_numpy(np.stack([item.image for item in items])), sizes),
        captions=torch.from_numpy(captions),
        lengths=torch.from_numpy(lengths),
        class_ids=torch.from_numpy(class_ids),
        wrong_index=torch.from_numpy(wrong_captions(class_ids, attributes, mentioned)),
        texts=tuple(item.text for item in items),
        keys=tuple(item.key for item in items),
        attributes=None if attributes is None else torch.from_numpy(attributes),
        mentioned=None if mentioned is None else torch.from_numpy(mentioned),
    )
