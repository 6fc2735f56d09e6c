"""A configuration's data set, whatever its layout."""

from __future__ import annotations

from reference_models.dmgan.config import DataConfig
from reference_models.dmgan.data.batch import CaptionedImages
from reference_models.dmgan.errors import ConfigError


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
    if config.layout == "folder":
        from reference_models.dmgan.data.folder import ImageFolder

        return ImageFolder(config.root, split, size=size, max_words=config.max_words)
    if config.layout == "shards":
        from reference_models.dmgan.data.shards import ShardedImages

        return ShardedImages(config.root, split, size=size, max_words=config.max_words)
    from reference_models.dmgan.data.released_layout import ReleasedLayout

    return ReleasedLayout(config.root, split, layout=config.layout, size=size, max_words=config.max_words)
