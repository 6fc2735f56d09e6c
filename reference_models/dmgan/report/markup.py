"""HTML as nested calls; text is escaped unless it is already :class:`Markup`."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping
from html import escape

import numpy as np
from PIL import Image

VOID = frozenset({"img", "input", "meta", "link", "br", "hr", "path", "line", "rect", "circle", "polyline"})
LARGE = 128  # pixels: larger images are JPEG, smaller ones PNG


class Markup(str):
    """Text that is HTML already."""


Child = object  # Markup, str, number, None, or an iterable of these


def el(tag: str, *children: Child, **attributes: object) -> Markup:
    """An element: ``el("p", "a < b", class_="note")`` → ``<p class="note">a &lt; b</p>``.

    ``class_`` and ``for_`` lose their underscore, other underscores become hyphens; True gives a bare attribute,
    None and False none.
    """
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        parts.append(f" {name}" if value is True else f' {name}="{escape(str(value))}"')
    if tag in VOID:
        return Markup("".join([*parts, ">" if tag in ("img", "input", "meta", "link", "br", "hr") else "/>"]))
    return Markup("".join([*parts, ">", join(children), f"</{tag}>"]))


def join(children: Iterable[Child]) -> Markup:
    """Children one after the other."""
    parts = []
    for child in children:
        if child is None or child is False:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child, quote=False))
        elif isinstance(child, Iterable):
            parts.append(join(child))
        else:
            parts.append(escape(str(child), quote=False))
    return Markup("".join(parts))


def picture(image: np.ndarray, alt: str, **attributes: object) -> Markup:
    """An ``<img>`` with the picture (S, S, 3) uint8 inside it."""
    height, width = image.shape[:2]
    return el("img", src=image_uri(image), alt=alt, width=width, height=height, **attributes)


def image_uri(image: np.ndarray) -> str:
    """A data URI of a picture (S, S, 3) uint8."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"`image` must be (S, S, 3) uint8, got {image.shape} {image.dtype}")
    file = io.BytesIO()
    kind = "jpeg" if image.shape[0] > LARGE else "png"
    settings = {"quality": 90, "subsampling": 0} if kind == "jpeg" else {"optimize": True}
    Image.fromarray(np.ascontiguousarray(image)).save(file, kind, **settings)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def bytes_of(values: np.ndarray, scale: float) -> str:
    """Values in [0, ``scale``] as base64 of one byte each, in C order."""
    quantised = np.clip(np.nan_to_num(values) / max(scale, 1e-12) * 255 + 0.5, 0, 255).astype(np.uint8)
    return base64.b64encode(quantised.tobytes()).decode()


def script_data(name: str, values: Mapping[str, object] | list[object]) -> Markup:
    """JSON for the page's script; no text in it can end the element."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{escape(name)}">{text}</script>')
