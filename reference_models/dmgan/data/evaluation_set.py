"""What an evaluation of a model needs of a data set on disk: captions to draw, and real images to compare with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from reference_models.dmgan.data.check import Files
from reference_models.dmgan.data.open import open_folder, told_layout, unsplit
from reference_models.dmgan.data.released_layout import EVALUATION_WORDS
from reference_models.dmgan.data.sentences import shorten
from reference_models.dmgan.errors import ConfigError, DataError
from reference_models.dmgan.files import write_atomically


def random_captions(
    root: Path | str,
    split: str,
    count: int,
    *,
    layout: str | None = None,
    seed: int = 0,
    max_words: int | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """``count`` captions of the split's images: each image once before any comes again, a random caption of each.

    Args:
        root, split, layout: as :func:`open_folder` takes them.
        count: how many; the release draws 30,000.
        seed: of the order of the images, the choice of captions and of the words that are kept.
        max_words: a longer caption is sub-sampled, its order kept; None: 25 for cub and flowers, 20 for coco, as
            the release evaluates, and all words elsewhere.
        warn: hears where ``root`` has no splits.
    """
    if count < 1:
        raise DataError(f"`count` must be at least 1, got {count}")
    layout = layout or told_layout(root)
    images = open_folder(root, split, layout=layout)
    assert isinstance(images, Files)
    if told := unsplit(images, root):
        warn(told)
    limit = EVALUATION_WORDS.get(layout) if max_words is None else max_words
    chosen: list[str] = []
    rng = np.random.default_rng([seed, count])
    while len(chosen) < count:
        for index in rng.permutation(len(images))[: count - len(chosen)]:
            texts = images.texts(int(index))
            ids = images.vocabulary.encode(texts[int(rng.integers(len(texts)))])
            chosen.append(images.vocabulary.decode(shorten(ids, limit or len(ids), rng)))
    return chosen


def write_captions(captions: list[str], out: Path) -> Path:
    """One caption a line: what ``sample --captions-file`` reads."""
    with write_atomically(out) as temporary:
        temporary.write_text("".join(f"{text}\n" for text in captions), encoding="utf-8")
    return out


def write_real_images(
    root: Path | str,
    split: str,
    out: Path,
    *,
    layout: str | None = None,
    size: int = 256,
    say: Callable[[str], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> int:
    """Write every image of the split as training sees it, but the middle and unflipped: ``out/000000.png`` and so on.

    For CUB that is the square around the bird. The files are what ``evaluate --real`` takes.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out} is not an empty folder: choose another, or remove it first")
    images = open_folder(root, split, layout=layout, size=size)
    if told := unsplit(images, root):
        warn(told)
    for index in range(len(images)):
        pixels = images.item(index, np.random.default_rng(0), train=False).image
        with write_atomically(out / f"{index:06d}.png") as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG")
        if (index + 1) % 1000 == 0 or index + 1 == len(images):
            say(f"{split}: {index + 1}/{len(images)} images")
    return len(images)
