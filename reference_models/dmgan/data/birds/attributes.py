"""What makes one bird differ from another: twelve attributes, each tied to a part that one can point at."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]

# Well apart under every light of `scene`: no two are nearer than 60 in RGB.
PALETTE: dict[str, RGB] = {
    "red": (206, 38, 44),
    "orange": (243, 132, 28),
    "yellow": (250, 212, 48),
    "green": (62, 150, 64),
    "blue": (48, 104, 206),
    "purple": (140, 70, 172),
    "black": (38, 36, 42),
    "white": (244, 242, 236),
    "grey": (138, 142, 150),
    "pink": (240, 138, 160),
}
PLUMAGE = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
BARE = ("black", "orange", "grey", "pink")  # of beak and legs


@dataclass(frozen=True)
class Attribute:
    """One property of a bird."""

    name: str
    values: tuple[str, ...]
    part: str  # where one looks for it
    colour: bool  # whether the values are colours of the part


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("crown", PLUMAGE, "crown", True),
    Attribute("breast", PLUMAGE, "breast", True),
    Attribute("belly", PLUMAGE, "belly", True),
    Attribute("back", PLUMAGE, "back", True),
    Attribute("wing", PLUMAGE, "wing", True),
    Attribute("tail", PLUMAGE, "tail", True),
    Attribute("beak", BARE, "beak", True),
    Attribute("legs", BARE, "legs", True),
    Attribute("beak shape", ("short", "long", "hooked"), "beak", False),
    Attribute("body", ("plump", "slender"), "breast", False),
    Attribute("wing pattern", ("plain", "barred", "spotted"), "wing", False),
    Attribute("crest", ("crested", "smooth"), "crown", False),
)
NAMES = tuple(attribute.name for attribute in ATTRIBUTES)
INDEX = {name: index for index, name in enumerate(NAMES)}
SIZES = tuple(len(attribute.values) for attribute in ATTRIBUTES)
A = len(ATTRIBUTES)
