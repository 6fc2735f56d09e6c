"""A contact sheet: birds with their captions under them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reference_models.dmgan.data.birds.captions import COLOUR_WORDS, SHAPE_WORDS
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import write_atomically

VALUES = {word for words in (*COLOUR_WORDS.values(), *SHAPE_WORDS.values()) for word in words} | {
    "crest",
    "no",
}
PAPER, INK, FAINT, ACCENT = (251, 249, 244), (45, 42, 38), (140, 133, 124), (194, 65, 12)


def contact_sheet(
    split: str, out: Path, *, columns: int = 6, rows: int = 4, size: int = 256, seed: int = 0
) -> Path:
    """Draw ``columns * rows`` birds of ``split``, each of another species where there are enough, to a PNG."""
    if columns < 1 or rows < 1:
        raise DataError(f"`columns` and `rows` must be at least 1, got {columns} and {rows}")
    birds = Birds(split, seed=seed, images=columns * rows, size=size, cached=False)
    gap, top, line = size // 12, size * 2 // 5, size // 13
    under = 4 * line + gap // 2
    width = columns * (size + gap) + gap
    page = Image.new("RGB", (width, top + rows * (size + under) + gap), PAPER)
    draw = ImageDraw.Draw(page)
    title, small = _font(size // 8), _font(size // 17)
    draw.text((gap, gap), f"Embedded birds, {split}", fill=INK, font=title)
    species = {birds.scenes.species_of(index) for index in range(len(birds))}
    told = f"{len(birds)} pictures of {len(species)} species, seed {seed}, {size} pixels"
    draw.text((gap, gap + size // 6), told, fill=FAINT, font=small)
    for index in range(columns * rows):
        row, column = divmod(index, columns)
        left, upper = gap + column * (size + gap), top + row * (size + under)
        page.paste(Image.fromarray(birds.image(index)), (left, upper))
        _write_caption(draw, birds.caption(index, 0).text, (left, upper + size + gap // 4), size, line, small)
    with write_atomically(out) as temporary:
        page.save(temporary, format="PNG")
    return out


def _write_caption(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: tuple[int, int],
    width: int,
    line: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    """The caption in lines no wider than its picture; words that name a value stand out."""
    characters = max(8, int(width / (font.getlength("a bird with blue wings") / 22)))
    for number, part in enumerate(textwrap.wrap(text, characters)[:4]):
        x, y = place[0], place[1] + number * line
        for word in part.split(" "):
            named = word.strip(",") in VALUES
            draw.text((x, y), word, fill=ACCENT if named else INK, font=font)
            x += int(np.ceil(font.getlength(f"{word} ")))


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
