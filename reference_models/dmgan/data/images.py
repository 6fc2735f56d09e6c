"""Image files → uint8 arrays: opened whole, cropped as the release crops, resized, flipped."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from reference_models.dmgan.errors import DataError

Box = tuple[float, float, float, float]  # x, y, width, height in pixels
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MARGIN = 76 / 64  # the short side before the crop, over the crop's


def open_image(path: Path) -> Image.Image:
    """The picture as RGB.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is truncated or no picture.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no image {path}")
    return decode(path, str(path))


def decode(file: Path | BinaryIO, name: str) -> Image.Image:
    """The picture in ``file`` as RGB, transparent ones on white; ``name`` is what errors call it."""
    try:
        with Image.open(file) as image:
            if not image.has_transparency_data:
                return image.convert("RGB")  # reads all of it: a truncated file is noticed here
            white = Image.new("RGBA", image.size, "white")  # what lies under transparent pixels is arbitrary
            return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} is refused: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{name} is truncated or damaged ({error})") from error


def crop_to_box(image: Image.Image, box: Box) -> Image.Image:
    """The square of side 1.5 max(w, h) around the box's centre, clipped to the image: the release's rule for CUB.

    Raises:
        DataError: nothing of the square lies inside the image.
    """
    x, y, width, height = (int(value) for value in box)  # the release cuts the table's decimals off
    radius = int(max(width, height) * 0.75)
    centre_x, centre_y = int((2 * x + width) / 2), int((2 * y + height) / 2)
    left, top = max(0, centre_x - radius), max(0, centre_y - radius)
    right, bottom = min(image.width, centre_x + radius), min(image.height, centre_y + radius)
    if left >= right or top >= bottom:
        raise DataError(
            f"the box x {x}, y {y}, width {width}, height {height} holds nothing of an image of "
            f"{image.width} x {image.height} pixels"
        )
    return image.crop((left, top, right, bottom))


def prepare(image: Image.Image, size: int, rng: np.random.Generator | None) -> np.ndarray:
    """(size, size, 3) uint8. In training (``rng`` given) a random crop of the release's margin and a random flip.

    Without ``rng`` the middle is taken, without a margin.
    """
    short = round(size * MARGIN) if rng is not None else size
    smallest = min(image.size)
    width, height = (
        short * side // smallest for side in image.size
    )  # the longer side is cut, as the release cuts
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    if rng is None:
        left, top = (width - size) // 2, (height - size) // 2
    else:
        left, top = int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1))
    pixels = np.asarray(resized)[top : top + size, left : left + size]
    if rng is not None and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
