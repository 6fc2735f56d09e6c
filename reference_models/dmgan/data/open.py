"""A configuration's data set, whatever its layout; and the layout of a folder, told from its files."""

from __future__ import annotations

from pathlib import Path

from reference_models.dmgan.config import DataConfig
from reference_models.dmgan.data.batch import CaptionedImages
from reference_models.dmgan.errors import ConfigError, DataError


def open_dataset(config: DataConfig, split: str, *, size: int) -> CaptionedImages:
    """The images and captions of ``split`` with images of ``size`` pixels.

    The embedded birds have ``train``, ``validation`` and ``test``; the released layouts ``train`` and ``test``.
    """
    if config.layout == "birds":
        from reference_models.dmgan.data.birds.dataset import Birds

        images = config.images if split == "train" else None
        return Birds(split, seed=config.seed, images=images, size=size, workers=2)
    if not config.root:
        raise ConfigError(f"`data.root` must name the folder of the layout {config.layout!r}, got nothing")
    return open_folder(config.root, split, layout=config.layout, size=size, max_words=config.max_words)


def open_folder(
    root: Path | str, split: str, *, layout: str | None = None, size: int = 256, max_words: int = 18
) -> CaptionedImages:
    """One split of the files at ``root``, which may be an address of shards; ``layout`` None: told from the files."""
    layout = layout or told_layout(root)
    if layout == "folder":
        from reference_models.dmgan.data.folder import ImageFolder

        return ImageFolder(root, split, size=size, max_words=max_words)
    if layout == "shards":
        from reference_models.dmgan.data.shards import ShardedImages

        return ShardedImages(root, split, size=size, max_words=max_words)
    from reference_models.dmgan.data.released_layout import ReleasedLayout

    return ReleasedLayout(root, split, layout=layout, size=size, max_words=max_words)


def unsplit(images: CaptionedImages, root: Path | str) -> str:
    """A sentence where ``images`` are all that lie at ``root``, whichever split was asked for; else nothing."""
    if str(getattr(images, "folder", "")).rstrip("/") != str(root).rstrip("/"):
        return ""
    return f"{root} has no splits: all of its images are taken"


def data_root(text: str) -> Path | str:
    """What a command was given: a folder, or an address of shards, which a path would write otherwise."""
    from reference_models.dmgan.data.shard_files import ADDRESSES

    return text if text.startswith(ADDRESSES) else Path(text)


def told_layout(root: Path | str) -> str:
    """``cub``, ``coco``, ``flowers``, ``folder`` or ``shards``, from the files that are there; at an address, shards.

    Raises:
        FileNotFoundError: there is no such folder.
        DataError: it has no layout that is known.
    """
    from reference_models.dmgan.data.shard_files import INDEX

    root = data_root(str(root))
    if isinstance(root, str):
        return "shards"
    if not root.is_dir():
        raise FileNotFoundError(f"there is no data folder {root}")

    def holds(name: str) -> bool:  # itself, or one of its splits; never a walk through all images
        return (root / name).is_file() or any(root.glob(f"*/{name}"))

    if holds(INDEX) or any(root.glob("*.tar")) or any(root.glob("*/*.tar")):
        return "shards"
    if holds("metadata.jsonl"):
        return "folder"
    if (root / "CUB_200_2011").is_dir():
        return "cub"
    if holds("filenames.pickle"):
        return "flowers" if holds("class_info.pickle") else "coco"
    raise DataError(
        f"{root} has no layout that is known: expected CUB_200_2011, train/filenames.pickle, metadata.jsonl, "
        f"{INDEX} or tar files"
    )


def split_folder(root: Path, split: str, *patterns: str) -> Path:
    """``root/<split>`` where there is one, else ``root``: a data set of one split may lie there without a name.

    Args:
        patterns: of the files that a split has.

    Raises:
        DataError: ``root`` has splits, and not this one.
    """
    if (root / split).is_dir():
        return root / split
    if any(any(root.glob(pattern)) for pattern in patterns):
        return root
    splits = sorted({path.parent.name for pattern in patterns for path in root.glob(f"*/{pattern}")})
    if splits:
        raise DataError(f"`split` must be one of {', '.join(splits)}, the folders of {root}, got {split!r}")
    return root
