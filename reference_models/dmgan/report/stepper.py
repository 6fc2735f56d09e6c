"""Step through a swap word by word: both captions' pictures, what every stage reads, both gates, what changed.

Axis letters: S image size, L words, H W the feature size of a refinement.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference_models.dmgan.report.data import Drawing, Swap
from reference_models.dmgan.report.markup import Markup, el, picture, script_data
from reference_models.dmgan.report.pictures import reading_data

NOTE = (
    "The same noise, drawn with the caption and with one word changed. Pick a word, or press the arrow keys: each "
    "refinement shows where that word is read before and after, and the last row what changed. The bars beside each "
    "word compare how much of all reading it gets and how far its slot is written by the word: grey before, coloured "
    "after."
)
LAYERS = (("picture", "Picture"), ("attention", "Attention"), ("gate", "Response gate"))


def can_step(swap: Swap) -> bool:
    """Whether a swap holds readings of both captions, word for word."""
    if swap.drawings is None:
        return False
    readings = [reading for drawing in swap.drawings for reading in drawing.readings]
    return bool(readings) and {len(reading.attention) for reading in readings} == {len(swap.words)}


def stepper(swaps: Sequence[Swap]) -> Markup | None:
    """All swaps that can be stepped through; the script shows one at a time. None: there is none."""
    chosen = [swap for swap in swaps if can_step(swap)]
    if not chosen:
        return None
    gates = any(r.response_gate is not None for swap in chosen for r in _readings(swap))
    return el(
        "div",
        _captions(chosen),
        _controls([layer for layer in LAYERS if gates or layer[0] != "gate"]),
        (_article(number, swap) for number, swap in enumerate(chosen)),
        script_data("steps", [_data(swap) for swap in chosen]),
        class_="stepper",
        tabindex="-1",
    )


def _captions(swaps: list[Swap]) -> Markup:
    buttons = (
        el(
            "button",
            picture(swap.before, ""),
            picture(swap.after, ""),
            el("span", f"{swap.word} → {swap.replacement}"),
            type="button",
            data_swap=number,
            aria_pressed="true" if number == 0 else "false",
            title=swap.caption,
        )
        for number, swap in enumerate(swaps)
    )
    return el("div", buttons, class_="step-captions", role="group", aria_label="swaps")


def _controls(layers: list[tuple[str, str]]) -> Markup:
    choice = (
        el(
            "button",
            label,
            type="button",
            data_layer=name,
            aria_pressed="true" if name == "picture" else "false",
        )
        for name, label in layers
    )
    return el(
        "div",
        el("div", choice, class_="step-layers", role="group", aria_label="what is shown"),
        el("button", "← word", type="button", data_by=-1),
        el("button", "word →", type="button", data_by=1),
        class_="step-controls",
    )


def _article(number: int, swap: Swap) -> Markup:
    assert swap.drawings is not None
    before, after = swap.drawings
    return el(
        "article",
        el(
            "div",
            _pictures(swap, before, after),
            el("div", _ledger(swap, before), el("p", class_="step-readout", aria_live="polite")),
            class_="step-panes",
        ),
        class_="step",
        data_swap=number,
    )


def _pictures(swap: Swap, before: Drawing, after: Drawing) -> Markup:
    """Rows: before, after, what changed. Columns: the stages."""
    stages = len(before.images)
    inks = [_ink(old, new) for old, new in zip(before.images, after.images)]
    rows = (
        ("before", swap.word, before.images),
        ("after", swap.replacement, after.images),
        ("change", "change", inks),
    )
    heads = ["", "first image", *(f"refinement {k}" for k in range(1, stages))]
    cells: list[Markup] = [el("span", head, class_="step-head") for head in heads]
    for row, label, images in rows:
        cells.append(el("span", el("b", label), class_=f"step-label step-{row}"))
        for stage, image in enumerate(images):
            shown = picture(
                image, f"{label}, {heads[stage + 1]}", class_="change" if row == "change" else None
            )
            canvas = el("canvas", data_row=row, data_stage=stage - 1, hidden=True) if stage else None
            cells.append(el("div", shown, canvas, class_="frame"))
    return el("div", cells, class_="step-pictures", style=f"--stages:{stages}")


def _ledger(swap: Swap, drawing: Drawing) -> Markup:
    """One row a word: what it gets of all reading and its write gate, before and after, of each refinement."""
    kinds = [(stage, kind) for stage in range(len(drawing.readings)) for kind in ("share", "write")]
    kinds = [(s, k) for s, k in kinds if k == "share" or drawing.readings[s].write_gate is not None]
    names = {"share": "read", "write": "write gate"}
    head = el(
        "tr",
        el("th", "word", scope="col"),
        (el("th", f"{names[kind]} {stage + 1}", scope="col") for stage, kind in kinds),
    )
    rows = []
    for place, word in enumerate(swap.words):
        said = [el("del", word), " ", el("ins", swap.replacement)] if place == swap.place else word
        bars = (
            el("td", el("i", class_="before"), el("i"), data_stage=stage, data_kind=kind)
            for stage, kind in kinds
        )
        button = el("button", said, type="button", data_place=place)
        rows.append(el("tr", el("th", button, scope="row"), bars, data_place=place))
    return el("div", el("table", el("thead", head), el("tbody", rows), class_="ledger"), class_="scroll")


def _data(swap: Swap) -> dict[str, object]:
    assert swap.drawings is not None
    before, after = ([reading_data(reading) for reading in drawing.readings] for drawing in swap.drawings)
    words = [swap.replacement if place == swap.place else word for place, word in enumerate(swap.words)]
    return {
        "before": before,
        "after": after,
        "words": list(swap.words),
        "after_words": words,
        "place": swap.place,
    }


def _readings(swap: Swap) -> list:
    return [reading for drawing in swap.drawings or () for reading in drawing.readings]


def _ink(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How much each pixel changed, (S, S, 3) uint8: white none, black much."""
    change = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(-1)
    ink = (255 - np.clip(change * 1.5, 0, 255)).astype(np.uint8)
    return np.repeat(ink[:, :, None], 3, axis=2)
