"""``data check``: what a folder holds, and everything that is wrong with it, before a training meets it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.batch import CaptionedImages
from reference_models.dmgan.data.folder import ImageFolder
from reference_models.dmgan.data.released_layout import ReleasedLayout
from reference_models.dmgan.data.shards import INDEX, ShardedImages
from reference_models.dmgan.errors import DataError, DmganError

SHOWN = 10  # faults of a split that are printed


@dataclass
class Checked:
    """What was found."""

    layout: str
    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def told_layout(root: Path) -> str:
    """``cub``, ``coco``, ``folder`` or ``shards``, from the files that are there."""
    if not root.is_dir():
        raise FileNotFoundError(f"there is no data folder {root}")
    if list(root.glob(f"**/{INDEX}")):
        return "shards"
    if list(root.glob("**/metadata.jsonl")):
        return "folder"
    if (root / "CUB_200_2011").is_dir():
        return "cub"
    if (root / "train" / "filenames.pickle").is_file():
        return "coco"
    raise DataError(
        f"{root} has no layout that is known: expected CUB_200_2011, train/filenames.pickle, metadata.jsonl or {INDEX}"
    )


def check(root: Path, *, layout: str | None = None, size: int = 64) -> Checked:
    """Open every image and caption of every split of ``root``."""
    layout = layout or told_layout(root)
    result = Checked(layout)
    splits = [name for name in ("train", "validation", "test") if (root / name).is_dir()] or ["train"]
    for split in splits:
        try:
            images = _open(layout, root, split, size)
        except (DmganError, FileNotFoundError) as error:
            result.faults.append(f"{split}: {error}")
            continue
        _check_split(images, split, result)
    return result


def _open(layout: str, root: Path, split: str, size: int) -> CaptionedImages:
    if layout == "shards":
        return ShardedImages(root, split, size=size)
    if layout == "folder":
        return ImageFolder(root, split, size=size)
    return ReleasedLayout(root, split, layout=layout, size=size)


def _check_split(images: CaptionedImages, split: str, result: Checked) -> None:
    lengths, classes, faults = [], Counter[int](), []
    for index in range(len(images)):
        try:
            item = images.item(index, np.random.default_rng(index), train=False)
        except (DmganError, FileNotFoundError) as error:
            faults.append(f"{split}: {error}")
            continue
        lengths.append(len(item.caption))
        classes[item.class_id] += 1
    good = f"{len(lengths)} of {len(images)} images can be read"
    words = f"{len(images.vocabulary) - 1} words"
    if lengths:
        spread = (
            f"captions of {min(lengths)} to {max(lengths)} words (first captions), {len(classes)} classes"
        )
    else:
        spread = "no caption"
    result.lines.append(f"{split}: {good}; vocabulary of {words}; {spread}")
    result.faults += faults[:SHOWN]
    if len(faults) > SHOWN:
        result.faults.append(f"{split}: and {len(faults) - SHOWN} more")
