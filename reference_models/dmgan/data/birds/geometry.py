"""Where each part of a bird is: smooth outlines in the unit square, from back to front.

The bird is designed looking right, in a frame from -1 to 1 with y down, and moved into the image by the scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reference_models.dmgan.data.birds.attributes import ATTRIBUTES, INDEX
from reference_models.dmgan.data.birds.scene import Scene

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Shape:
    """One thing to paint: a part, a marking on it (same part, another tone), or a decoration."""

    part: str  # whose colour it has; "eye" and "mark" are nobody's attribute
    points: np.ndarray  # (K, 2) in the unit square, x right, y down
    tone: str = "fill"  # fill, dark (a shade of the part's colour), light, mark (contrasting), white, black
    edge: bool = True  # a contour in a darker tone


def smooth(points: Points, steps: int = 7) -> np.ndarray:
    """A closed Catmull-Rom curve through ``points``: (len(points) * steps, 2)."""
    p = np.asarray(points, dtype=np.float64)
    before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * p
        + (after - before) * t
        + (2 * before - 5 * p + 4 * after - beyond) * t**2
        + (3 * p - before - 3 * after + beyond) * t**3
    )
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def ellipse(x: float, y: float, rx: float, ry: float, count: int = 28) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def value(scene: Scene, name: str, erase: frozenset[str] = frozenset()) -> str | None:
    """The value of attribute ``name``, None where it is erased."""
    if name in erase:
        return None
    index = INDEX[name]
    return ATTRIBUTES[index].values[scene.attributes[index]]


def shapes(scene: Scene, erase: frozenset[str] = frozenset()) -> list[Shape]:
    """Everything to paint, back to front, in the unit square."""
    girth = {"plump": 1.12, "slender": 0.80, None: 0.96}[value(scene, "body", erase)]
    drawn = [
        *_tail(),
        *_legs(girth),
        *_body(girth),
        *_crest(value(scene, "crest", erase)),
        *_head(),
        *_beak(value(scene, "beak shape", erase)),
        *_wing(girth, value(scene, "wing pattern", erase)),
    ]
    return [Shape(s.part, place(s.points, scene), s.tone, s.edge) for s in drawn]


def place(points: np.ndarray, scene: Scene) -> np.ndarray:
    """Design frame → unit square: tilt about the body, flip, scale and shift."""
    angle = math.radians(-scene.tilt)
    cosine, sine = math.cos(angle), math.sin(angle)
    centred = points - (0.08, -0.04)  # the middle of the bird, beak and tail included
    x = centred[:, 0] * cosine - centred[:, 1] * sine
    y = centred[:, 0] * sine + centred[:, 1] * cosine
    if scene.flip:
        x = -x
    factor = 0.44 * scene.scale
    return np.stack([0.5 + scene.x + factor * x, 0.5 + scene.y + factor * y], axis=1)


def _tail() -> list[Shape]:
    feathers = smooth(
        [
            (-0.42, -0.06),
            (-0.72, -0.10),
            (-1.00, -0.16),
            (-1.02, 0.08),
            (-0.96, 0.24),
            (-0.68, 0.22),
            (-0.40, 0.22),
        ]
    )
    lines = [
        np.array([(-0.52, y0 - 0.008), (-0.96, y1 - 0.012), (-0.96, y1 + 0.012), (-0.52, y0 + 0.008)])
        for y0, y1 in ((0.02, -0.03), (0.11, 0.12))
    ]
    return [Shape("tail", feathers), *(Shape("tail", line, "dark", False) for line in lines)]


def _legs(girth: float) -> list[Shape]:
    top, bottom, half = 0.30 + 0.12 * (girth - 1), 0.86, 0.036
    result = []
    for x in (-0.16, 0.12):
        leg = np.array([(x - half, top), (x + half, top), (x + half, bottom), (x - half, bottom)])
        foot = smooth(
            [
                (x - 0.10, bottom + 0.06),
                (x - 0.02, bottom - 0.05),
                (x + 0.10, bottom - 0.03),
                (x + 0.19, bottom + 0.06),
            ],
            5,
        )
        result += [Shape("legs", leg, edge=False), Shape("legs", foot, edge=False)]
    return result


def _body(girth: float) -> list[Shape]:
    def at(x: float, y: float) -> tuple[float, float]:
        return (x, 0.10 + (y - 0.10) * girth)

    back = smooth(
        [
            at(0.46, -0.30),
            at(0.12, -0.32),
            at(-0.28, -0.20),
            at(-0.56, 0.02),
            at(-0.50, 0.20),
            at(-0.10, 0.16),
            at(0.34, 0.08),
        ]
    )
    belly = smooth(
        [
            at(-0.54, 0.06),
            at(-0.46, 0.26),
            at(-0.22, 0.44),
            at(0.06, 0.48),
            at(0.26, 0.40),
            at(0.22, 0.14),
            at(-0.10, 0.04),
        ]
    )
    breast = smooth(
        [
            at(0.20, -0.10),
            at(0.44, -0.30),
            at(0.60, -0.14),
            at(0.60, 0.10),
            at(0.46, 0.32),
            at(0.20, 0.44),
            at(0.10, 0.18),
        ]
    )
    shade = smooth(
        [at(-0.42, 0.30), at(-0.16, 0.42), at(0.08, 0.45), at(0.30, 0.38), at(0.06, 0.39), at(-0.18, 0.36)]
    )
    return [
        Shape("back", back),
        Shape("belly", belly),
        Shape("breast", breast),
        Shape("mark", shade, "shadow", False),
    ]


def _crest(kind: str | None) -> list[Shape]:
    if kind != "crested":
        return []
    plume = smooth(
        [
            (0.56, -0.62),
            (0.40, -0.84),
            (0.16, -1.00),
            (0.24, -0.82),
            (0.06, -0.84),
            (0.20, -0.66),
            (0.26, -0.50),
        ],
        5,
    )
    return [Shape("crown", plume)]


def _head() -> list[Shape]:
    head = ellipse(0.46, -0.44, 0.27, 0.26)
    crown = smooth(
        [
            (0.70, -0.52),
            (0.60, -0.67),
            (0.44, -0.73),
            (0.28, -0.67),
            (0.18, -0.50),
            (0.20, -0.34),
            (0.34, -0.46),
            (0.52, -0.54),
        ]
    )
    return [
        Shape("back", head),
        Shape("crown", crown),
        Shape("eye", ellipse(0.55, -0.43, 0.082, 0.082), "white", False),
        Shape("eye", ellipse(0.562, -0.43, 0.056, 0.056), "black", False),
        Shape("eye", ellipse(0.582, -0.452, 0.020, 0.020), "white", False),
    ]


def _beak(kind: str | None) -> list[Shape]:
    if kind is None:
        return []
    if kind == "short":
        beak = np.array([(0.66, -0.54), (0.80, -0.49), (0.93, -0.38), (0.80, -0.31), (0.67, -0.28)])
        split = np.array([(0.69, -0.405), (0.91, -0.385), (0.91, -0.375), (0.69, -0.385)])
    elif kind == "long":
        beak = np.array([(0.68, -0.49), (0.88, -0.45), (1.20, -0.36), (0.88, -0.35), (0.69, -0.33)])
        split = np.array([(0.70, -0.415), (1.16, -0.367), (1.16, -0.357), (0.70, -0.40)])
    else:
        beak = smooth(
            [
                (0.66, -0.54),
                (0.82, -0.54),
                (0.95, -0.44),
                (0.95, -0.22),
                (0.88, -0.14),
                (0.85, -0.30),
                (0.68, -0.30),
            ],
            5,
        )
        split = np.array([(0.69, -0.39), (0.86, -0.355), (0.86, -0.34), (0.69, -0.37)])
    return [Shape("beak", beak), Shape("beak", split, "dark", False)]


def _wing(girth: float, pattern: str | None) -> list[Shape]:
    def at(x: float, y: float) -> tuple[float, float]:
        return (x, 0.08 + (y - 0.08) * (0.5 + 0.5 * girth))

    wing = smooth(
        [
            at(0.22, -0.10),
            at(0.04, -0.17),
            at(-0.24, -0.12),
            at(-0.56, 0.06),
            at(-0.74, 0.24),
            at(-0.46, 0.28),
            at(-0.14, 0.28),
            at(0.14, 0.14),
        ]
    )
    result = [Shape("wing", wing)]
    for x0, y0, x1, y1 in ((-0.18, 0.21, -0.58, 0.23), (-0.06, 0.12, -0.52, 0.14)):
        (ax, ay), (bx, by) = at(x0, y0), at(x1, y1)
        result.append(
            Shape(
                "wing",
                np.array([(ax, ay - 0.010), (bx, by - 0.006), (bx, by + 0.006), (ax, ay + 0.010)]),
                "dark",
                False,
            )
        )
    if pattern == "barred":
        for x in (0.06, -0.16, -0.38):
            (ax, ay), (bx, by) = at(x + 0.02, -0.11 + 0.1 * (0.06 - x)), at(x - 0.06, 0.24)
            bar = np.array([(ax - 0.04, ay), (ax + 0.04, ay), (bx + 0.04, by), (bx - 0.04, by)])
            result.append(Shape("wing", bar, "mark", False))
    elif pattern == "spotted":
        for x, y in (
            (0.06, -0.03),
            (0.03, 0.14),
            (-0.14, 0.05),
            (-0.18, 0.20),
            (-0.34, 0.04),
            (-0.38, 0.19),
            (-0.54, 0.17),
        ):
            cx, cy = at(x, y)
            result.append(Shape("wing", ellipse(cx, cy, 0.055, 0.055, 14), "mark", False))
    return result
