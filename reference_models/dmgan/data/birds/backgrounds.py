"""Five simple, smooth backgrounds: sky, branch, water, grass, snow. None depends on the bird."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from reference_models.dmgan.data.birds.geometry import smooth
from reference_models.dmgan.data.birds.scene import BACKGROUNDS, Scene

RGB = tuple[int, int, int]

# Top, horizon and bottom of each background: pale, so that the bird stands out.
GRADIENTS: dict[str, tuple[RGB, RGB, RGB]] = {
    "sky": ((142, 190, 226), (186, 216, 236), (222, 236, 242)),
    "branch": ((170, 198, 160), (190, 212, 176), (212, 224, 196)),
    "water": ((206, 226, 232), (182, 214, 222), (112, 168, 186)),
    "grass": ((204, 226, 234), (214, 230, 214), (152, 190, 122)),
    "snow": ((188, 202, 220), (212, 222, 234), (238, 243, 248)),
}


def paint_background(scene: Scene, size: int) -> Image.Image:
    """The background of ``scene``, ``size`` x ``size`` RGB."""
    kind = BACKGROUNDS[scene.background]
    rng = np.random.default_rng(scene.details)
    image = _gradient(GRADIENTS[kind], size)
    draw = ImageDraw.Draw(image, "RGBA")
    {"sky": _sky, "branch": _branch, "water": _water, "grass": _grass, "snow": _snow}[kind](draw, size, rng)
    return image


def _gradient(colours: tuple[RGB, RGB, RGB], size: int) -> Image.Image:
    rows = np.linspace(0, 1, size)
    channels = [np.interp(rows, (0, 0.6, 1), [colour[c] for colour in colours]) for c in range(3)]
    column = np.stack(channels, axis=1).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(column[:, None, :], (size, size, 3))))


def _blob(
    draw: ImageDraw.ImageDraw, size: int, x: float, y: float, rx: float, ry: float, fill: tuple[int, ...]
) -> None:
    draw.ellipse([(x - rx) * size, (y - ry) * size, (x + rx) * size, (y + ry) * size], fill=fill)


def _sky(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    for _ in range(3):
        x, y, width = rng.uniform(0, 1), rng.uniform(0.05, 0.9), rng.uniform(0.14, 0.26)
        for step in range(5):  # translucent layers: a soft edge without a blur
            grow = 1.0 - 0.14 * step
            _blob(draw, size, x, y, width * grow, width * 0.30 * grow, (255, 255, 255, 38))
            _blob(
                draw,
                size,
                x + width * 0.4,
                y - width * 0.16,
                width * 0.5 * grow,
                width * 0.26 * grow,
                (255, 255, 255, 34),
            )


def _branch(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    for _ in range(5):
        _blob(
            draw,
            size,
            rng.uniform(0, 1),
            rng.uniform(0, 1),
            *(2 * [rng.uniform(0.06, 0.16)]),
            (235, 242, 214, 70),
        )
    y = rng.uniform(0.90, 0.93)
    lean = rng.uniform(-0.03, 0.03)
    bough = np.array(
        [(-0.05, y - lean), (1.05, y + lean), (1.05, y + lean + 0.075), (-0.05, y - lean + 0.085)]
    )
    draw.polygon([tuple(p) for p in bough * size], fill=(134, 102, 74))
    draw.polygon(
        [tuple(p) for p in (bough + [[0, 0], [0, 0], [0, -0.045], [0, -0.05]]) * size], fill=(158, 124, 92)
    )
    for _ in range(4):
        x, turn = rng.uniform(0.02, 0.98), rng.choice([-1, 1])
        leaf = smooth(
            [(x, y), (x + 0.02 * turn, y - 0.06), (x + 0.08 * turn, y - 0.10), (x + 0.06 * turn, y - 0.03)], 5
        )
        draw.polygon([tuple(p) for p in leaf * size], fill=(112, 154, 92))


def _water(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    for _ in range(9):
        x, y = rng.uniform(0, 1), rng.uniform(0.64, 0.98)
        length = rng.uniform(0.08, 0.22) * (0.4 + y)
        _blob(draw, size, x, y, length, 0.008 + 0.006 * y, (226, 242, 246, 130))


def _grass(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    hill = smooth(
        [
            (-0.2, 1.2),
            (-0.2, 0.84),
            (0.3, rng.uniform(0.76, 0.84)),
            (0.8, rng.uniform(0.78, 0.86)),
            (1.2, 0.84),
            (1.2, 1.2),
        ]
    )
    draw.polygon([tuple(p) for p in hill * size], fill=(140, 182, 106))
    for x in np.linspace(0, 1, 16) + rng.uniform(-0.03, 0.03, 16):
        height, lean = rng.uniform(0.08, 0.17), rng.uniform(-0.04, 0.04)
        blade = [(x - 0.012, 1.0), (x + 0.012, 1.0), (x + lean, 1.0 - height)]
        draw.polygon([(px * size, py * size) for px, py in blade], fill=(112, 160, 84))


def _snow(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    hill = smooth(
        [
            (-0.2, 1.2),
            (-0.2, 0.88),
            (0.3, rng.uniform(0.80, 0.88)),
            (0.8, rng.uniform(0.82, 0.90)),
            (1.2, 0.88),
            (1.2, 1.2),
        ]
    )
    draw.polygon([tuple(p) for p in hill * size], fill=(250, 252, 255))
    for _ in range(22):
        radius = rng.uniform(0.006, 0.013)
        _blob(draw, size, rng.uniform(0, 1), rng.uniform(0, 0.85), radius, radius, (255, 255, 255, 225))
