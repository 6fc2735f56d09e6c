"""A configuration's data set, whatever its layout."""

from __future__ import annotations

from reference_models.dmgan.config import DataConfig
from reference_models.dmgan.data.batch import CaptionedImages
from reference_models.dmgan.errors import DataError


def open_dataset(config: DataConfig, split: str, *, size: int) -> CaptionedImages:
    """The images and captions of ``split`` (train, validation or test) with images of ``size`` pixels."""
    if config.layout == "birds":
        from reference_models.dmgan.data.birds.dataset import Birds

        images = config.images if split == "train" else None
        return Birds(split, seed=config.seed, images=images, size=size, workers=2)
    raise DataError(f"`data.layout` {config.layout!r} cannot be opened")
