"""The pictures as one PNG: a row a caption, a column a stage."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.report.data import Picture

CELL, GAP, MARGIN, TEXT = 192, 16, 40, 300
PAPER, INK, MUTED = (251, 250, 247), (29, 27, 24), (111, 106, 97)


def write_sheet(pictures: Sequence[Picture], path: Path | str) -> Path:
    """Write the first drawing of every picture, first image → refined, all enlarged to one size."""
    if not pictures:
        raise ValueError("`pictures` must hold at least one picture, got none")
    stages = len(pictures[0].drawings[0].images)
    width = 2 * MARGIN + TEXT + stages * (CELL + GAP)
    height = 2 * MARGIN + len(pictures) * (CELL + GAP) - GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    body, small = ImageFont.load_default(20), ImageFont.load_default(13)
    for row, item in enumerate(pictures):
        top = MARGIN + row * (CELL + GAP)
        text = textwrap.fill(item.caption, 28, max_lines=6, placeholder="...")
        draw.multiline_text((MARGIN, top + 4), text, fill=INK, font=body, spacing=7)
        for stage, image in enumerate(item.drawings[0].images):
            left = MARGIN + TEXT + GAP + stage * (CELL + GAP)
            # Whole pixels where they fit, so that a first image of 16 pixels looks like what it is.
            exact = CELL % image.shape[0] == 0
            how = Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS
            sheet.paste(Image.fromarray(image).resize((CELL, CELL), how), (left, top))
            if row == 0:
                label = f"{image.shape[0]} px" + (", first image" if stage == 0 else ", refined")
                draw.text((left, top - 20), label, fill=MUTED, font=small)
    with write_atomically(path) as temporary:
        sheet.save(temporary, format="PNG")
    return Path(path)
