"""Image files become arrays of one kind, or an error that names the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reference_models.dmgan.data.images import crop_to_box, open_image, prepare
from reference_models.dmgan.errors import DataError


def noise(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_a_truncated_file_of_any_format_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    noise().save(path)
    whole = path.read_bytes()
    assert open_image(path).size == (60, 40)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"picture\{suffix} is "):
        open_image(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is not an image that can be read"):
        open_image(path)
    with pytest.raises(FileNotFoundError, match="there is no image"):
        open_image(tmp_path / "none.jpg")


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "I;16", "LA", "RGBA"])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = noise().convert("L").convert("I;16") if mode == "I;16" else noise().convert(mode)
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    image.save(path)
    assert open_image(path).mode == "RGB"
    assert prepare(open_image(path), 16, None).shape == (16, 16, 3)


def test_transparent_pixels_are_white_whatever_lies_under_them(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[:, :2] = (200, 10, 10, 255)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    opened = np.asarray(open_image(tmp_path / "alpha.png"))
    assert (opened[:, :2] == (200, 10, 10)).all()
    assert (opened[:, 2:] == 255).all()
    palette = Image.fromarray(pixels[..., :3]).quantize(2)
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 255]))
    assert open_image(tmp_path / "palette.png").mode == "RGB"


def test_an_image_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise().save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"bomb\.png is refused"):
        open_image(tmp_path / "bomb.png")


@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 40), st.booleans())
def test_any_shape_gives_the_size(width: int, height: int, size: int, train: bool) -> None:
    rng = np.random.default_rng(0) if train else None
    pixels = prepare(noise(width, height), size, rng)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_training_sees_every_part_of_the_margin_and_both_flips() -> None:
    ramp = np.zeros((19, 19, 3), dtype=np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(19)[None] * 10, np.arange(19)[:, None] * 10
    seen = {
        tuple(prepare(Image.fromarray(ramp), 16, np.random.default_rng(seed))[0, [0, -1], :2].ravel())
        for seed in range(300)
    }
    assert len(seen) == 4 * 4 * 2, "19 pixels for 16: four places across, four down, two flips"


def test_a_box_with_nothing_in_it_is_told() -> None:
    with pytest.raises(
        DataError, match=r"box x 10, y 10, width 0, height 1 holds nothing of an image of 60 x 40"
    ):
        crop_to_box(noise(), (10, 10, 0, 1))
    with pytest.raises(DataError, match="holds nothing"):
        crop_to_box(noise(), (300, 0, 20, 20))


def test_decimals_of_a_box_are_cut_as_released() -> None:
    assert np.array_equal(
        np.asarray(crop_to_box(noise(), (10.9, 5.9, 20.9, 10.9))),
        np.asarray(crop_to_box(noise(), (10, 5, 20, 10))),
    )
