"""Scene → picture, painted back to front at a multiple of the size and averaged down."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from PIL import Image, ImageDraw

from reference_models.dmgan.data.birds.attributes import NAMES, PALETTE
from reference_models.dmgan.data.birds.backgrounds import RGB, paint_background
from reference_models.dmgan.data.birds.geometry import Shape, shapes, value
from reference_models.dmgan.data.birds.scene import Scene
from reference_models.dmgan.errors import DataError

# Raised whenever a scene's pixels change: caches and stored statistics belong to one version.
VERSION = 1

PARTS = ("background", "crown", "breast", "belly", "back", "wing", "tail", "beak", "legs", "eye")
ERASED: RGB = (128, 128, 128)
CREAM: RGB = (250, 244, 226)
INK: RGB = (52, 44, 46)


def render(scene: Scene, size: int, *, erase: Collection[str] = ()) -> np.ndarray:
    """The picture of ``scene``, (size, size, 3) uint8.

    ``erase`` names attributes whose value must leave no trace: a colour is painted neutral grey, a shape is left
    out or drawn half-way. Two scenes that differ in an erased attribute alone give the same bytes.
    """
    unknown = set(erase) - set(NAMES)
    if unknown:
        raise DataError(
            f"`erase` must hold attribute names, got {sorted(unknown)[0]!r}; known: {', '.join(NAMES)}"
        )
    if size < 8:
        raise DataError(f"`size` must be at least 8 pixels, got {size}")
    erased = frozenset(erase)
    factor = max(2, min(4, 512 // size))
    canvas = size * factor
    image = paint_background(scene, canvas)
    draw = ImageDraw.Draw(image, "RGBA")
    for shape in shapes(scene, erased):
        _paint(draw, shape, scene, erased, canvas)
    small = np.asarray(image.reduce(factor), dtype=np.float32)
    return _light(small, scene)


def part_mask(scene: Scene, size: int) -> np.ndarray:
    """Which part each pixel's middle shows: (size, size) uint8, indices of ``PARTS``."""
    image = Image.new("L", (4 * size, 4 * size), 0)
    draw = ImageDraw.Draw(image)
    for shape in shapes(scene):
        if shape.part in PARTS:
            draw.polygon([tuple(p) for p in shape.points * 4 * size], fill=PARTS.index(shape.part))
    return np.asarray(image)[2::4, 2::4]


def bounding_box(scene: Scene, size: int) -> tuple[float, float, float, float]:
    """x, y, width and height of the whole bird in pixels of a ``size`` image, clipped to it."""
    points = np.concatenate([shape.points for shape in shapes(scene)]).clip(0, 1) * size
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return float(left), float(top), float(right - left), float(bottom - top)


def _paint(
    draw: ImageDraw.ImageDraw, shape: Shape, scene: Scene, erased: frozenset[str], canvas: int
) -> None:
    points = [tuple(p) for p in shape.points * canvas]
    base = _colour(shape.part, scene, erased)
    if shape.tone == "fill" and shape.edge:
        # The contour is the same outline, drawn first as a wide line in a darker tone.
        draw.line(
            [*points, points[0], points[1]],
            fill=_darker(base, 0.62),
            width=max(2, canvas // 90),
            joint="curve",
        )
    fill: tuple[int, ...] = base
    if shape.tone == "dark":
        fill = _darker(base, 0.72)
    elif shape.tone == "mark":
        fill = INK if sum(base) > 420 else CREAM
    elif shape.tone == "shadow":
        fill = (20, 20, 40, 34)
    elif shape.tone == "white":
        fill = (252, 252, 250)
    elif shape.tone == "black":
        fill = (18, 16, 20)
    draw.polygon(points, fill=fill)


def _colour(part: str, scene: Scene, erased: frozenset[str]) -> RGB:
    if part not in NAMES:
        return INK
    name = value(scene, part, erased)
    return ERASED if name is None else PALETTE[name]


def _darker(colour: RGB, factor: float) -> RGB:
    # Black has no darker tone: its contours and lines are lighter instead, or they would vanish.
    if sum(colour) < 150:
        return (82, 80, 92)
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


def _light(image: np.ndarray, scene: Scene) -> np.ndarray:
    """Brightness, a warm or cold tint, and a gentle fall-off away from the light."""
    size = image.shape[0]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    across = 1 + 0.06 * scene.slope * axis
    down = 1 - 0.05 * axis
    tint = np.array([1 + 0.035 * scene.warmth, 1.0, 1 - 0.045 * scene.warmth], dtype=np.float32)
    lit = image * (scene.brightness * down[:, None] * across[None, :])[:, :, None] * tint
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)
