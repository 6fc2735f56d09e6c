"""A scene: one bird's attributes and everything else that a picture of it depends on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_models.dmgan.data.birds.attributes import SIZES, A

BACKGROUNDS = ("sky", "branch", "water", "grass", "snow")
SCENE_TARGETS = (
    "flip",
    "tilt",
    "x",
    "y",
    "scale",
    "brightness",
    "warmth",
    "slope",
    *(f"background {name}" for name in BACKGROUNDS),
)


@dataclass(frozen=True)
class Scene:
    """All that :func:`render` is given. Lengths are fractions of the image, angles are degrees."""

    attributes: tuple[int, ...]  # A value indices
    flip: bool  # looks to the left
    tilt: float  # -9 to 9, beak up is positive
    x: float  # of the bird's middle, from the image's, -0.05 to 0.05
    y: float
    scale: float  # 0.86 to 1.06
    brightness: float  # 0.90 to 1.06
    warmth: float  # -1 (blue light) to 1 (golden light)
    slope: float  # -1 to 1: which side the light comes from
    background: int  # of BACKGROUNDS
    details: int  # seed of the background's clouds, blades and ripples


def sample_scene(attributes: np.ndarray, rng: np.random.Generator) -> Scene:
    """A scene of a bird with ``attributes`` (A,); the background and pose never depend on them."""
    return Scene(
        attributes=tuple(int(value) for value in attributes),
        flip=bool(rng.random() < 0.5),
        tilt=float(rng.uniform(-9, 9)),
        x=float(rng.uniform(-0.05, 0.05)),
        y=float(rng.uniform(-0.04, 0.04)),
        scale=float(rng.uniform(0.86, 1.06)),
        brightness=float(rng.uniform(0.90, 1.06)),
        warmth=float(rng.uniform(-1, 1)),
        slope=float(rng.uniform(-1, 1)),
        background=int(rng.integers(len(BACKGROUNDS))),
        details=int(rng.integers(2**31)),
    )


def independent_attributes(rng: np.random.Generator) -> np.ndarray:
    """(A,) int64: each attribute drawn uniformly, none depending on another."""
    return np.array([rng.integers(size) for size in SIZES], dtype=np.int64)


def scene_vector(scene: Scene) -> np.ndarray:
    """The scene's continuous truth as regression targets, float32, one for each of ``SCENE_TARGETS``, in [-1, 1]."""
    background = [1.0 if kind == scene.background else -1.0 for kind in range(len(BACKGROUNDS))]
    values = [
        1.0 if scene.flip else -1.0,
        scene.tilt / 9,
        scene.x / 0.05,
        scene.y / 0.04,
        (scene.scale - 0.96) / 0.10,
        (scene.brightness - 0.98) / 0.08,
        scene.warmth,
        scene.slope,
        *background,
    ]
    assert len(scene.attributes) == A
    return np.array(values, dtype=np.float32)
