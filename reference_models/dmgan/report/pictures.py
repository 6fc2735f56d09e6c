"""The captions with their pictures, and what the memory read for each word."""

from __future__ import annotations

import re

import numpy as np

from reference_models.dmgan.report.data import Drawing, Frames, Picture, Reading, Swap
from reference_models.dmgan.report.markup import Markup, bytes_of, el, picture, script_data

MAP = 48  # pixels: larger attention maps are averaged down, the eye does not need more
ORDINALS = ("once", "twice", "three times", "four times")


def gallery(pictures: tuple[Picture, ...]) -> Markup:
    """One button a caption, showing its last image."""
    return el(
        "div",
        (
            el(
                "button",
                picture(item.drawings[0].images[-1], ""),
                el("span", item.caption),
                type="button",
                data_caption=index,
                aria_pressed="true" if index == 0 else "false",
                title=item.caption,
            )
            for index, item in enumerate(pictures)
        ),
        class_="gallery",
        role="group",
        aria_label="captions",
        style=f"--count:{len(pictures)}",
    )


def explorer(pictures: tuple[Picture, ...]) -> Markup:
    """All captions; the script shows one at a time. Without it they stand one below the other."""
    articles = (article(index, item) for index, item in enumerate(pictures))
    data = [[[reading_data(reading) for reading in d.readings] for d in item.drawings] for item in pictures]
    return el("div", toolbar(pictures), articles, script_data("readings", data), class_="explorer")


def toolbar(pictures: tuple[Picture, ...]) -> Markup:
    """What lies over the pictures, and how their pixels are drawn."""
    read = any(drawing.readings for item in pictures for drawing in item.drawings)
    gates = any(
        r.response_gate is not None
        for item in pictures
        for drawing in item.drawings
        for r in drawing.readings
    )
    layers = [("picture", "Picture")]
    if read:
        layers.append(("attention", "Attention"))
    if gates:
        layers.append(("gate", "Response gate"))
    return el(
        "div",
        _choice("layer", layers) if len(layers) > 1 else None,
        _choice("pixels", [("crisp", "Crisp"), ("smooth", "Smooth")]),
        el("button", "Play words", type="button", class_="play", aria_pressed="false") if read else None,
        class_="toolbar",
    )


def article(index: int, item: Picture) -> Markup:
    """One caption: its drawings, stage by stage, and the table of its words."""
    words = item.drawings[0].readings and word_table(item)
    unknown = item.unknown and el(
        "p", "Not in the vocabulary, so not read: ", el("em", ", ".join(item.unknown)), ".", class_="aside"
    )
    return el(
        "article",
        el("h3", item.caption, class_="caption"),
        (stages(item, number, drawing) for number, drawing in enumerate(item.drawings)),
        more(item),
        el("p", class_="readout", aria_live="polite") if words else None,
        words or None,
        unknown or None,
        class_="picture",
        id=f"caption-{index + 1}",
        data_caption=index,
    )


def stages(item: Picture, number: int, drawing: Drawing) -> Markup:
    """First image → refined images, all shown at one size."""
    figures = []
    for stage, image in enumerate(drawing.images):
        size = image.shape[0]
        name = "first image" if stage == 0 else f"refined {ORDINALS[min(stage, 4) - 1]}"
        figures.append(
            el(
                "figure",
                el(
                    "div",
                    picture(image, f"{item.caption}: {name}"),
                    el("canvas", data_stage=stage - 1, hidden=True) if stage and drawing.readings else None,
                    class_="frame",
                ),
                el("figcaption", el("b", name), el("span", f"{size} × {size}")),
                class_="stage",
            )
        )
    return el("div", figures, class_="stages", data_drawing=number, hidden=number > 0)


def more(item: Picture) -> Markup | None:
    """Other noise for the same caption, and a real image that the caption describes."""
    others = [
        el(
            "button",
            picture(drawing.images[-1], f"noise {number + 1}"),
            type="button",
            data_drawing=number,
            aria_pressed="true" if number == 0 else "false",
            title=f"noise {number + 1}",
        )
        for number, drawing in enumerate(item.drawings)
    ]
    if len(others) < 2 and item.real is None:
        return None
    real = item.real is not None and el(
        "figure", picture(item.real, "a real image"), el("figcaption", "real, for comparison"), class_="real"
    )
    drawn = len(others) > 1 and el("div", el("span", "other noise"), others, class_="drawings", role="group")
    return el("div", drawn, real, class_="more")


def word_table(item: Picture) -> Markup:
    """One column a word: attention and write gate of each refinement."""
    readings = item.drawings[0].readings
    head = el(
        "tr",
        el("th", "word", scope="row"),
        (
            el("th", el("button", word, type="button", data_word=index), scope="col", data_word=index)
            for index, word in enumerate(item.words)
        ),
    )
    rows = []
    for stage in range(len(readings)):
        cells = (
            el("td", el("canvas", data_stage=stage, data_word=index), data_word=index)
            for index in range(len(item.words))
        )
        rows.append(el("tr", el("th", f"attention {stage + 1}", scope="row"), cells, class_="maps"))
    for stage, reading in enumerate(readings):
        if reading.write_gate is None:
            continue
        cells = (
            el(
                "td",
                el("i", style=f"--value:{value:.3f}"),
                el("span", f"{value:.2f}".removeprefix("0")),
                data_word=index,
            )
            for index, value in enumerate(float(v) for v in reading.write_gate)
        )
        rows.append(
            el(
                "tr",
                el("th", f"write gate {stage + 1}", scope="row"),
                cells,
                class_="gates",
                data_stage=stage,
            )
        )
    return el(
        "div",
        el("table", head, rows, class_="words long" if len(item.words) > 15 else "words"),
        class_="scroll",
        tabindex="0",
    )


def swap_card(swap: Swap) -> Markup:
    """Before, after and what changed, for one word."""
    change = np.abs(swap.after.astype(np.int16) - swap.before.astype(np.int16)).max(-1)
    ink = np.repeat((255 - np.clip(change * 1.5, 0, 255)).astype(np.uint8)[:, :, None], 3, axis=2)
    start, word, end = _around(swap.caption, swap.word)
    sentence = el("p", start, el("del", word), " ", el("ins", swap.replacement), end, class_="caption")
    findings = [f for f in (swap.swapped, *swap.kept) if f is not None]
    chips = (
        el(
            "li",
            el("b", f.attribute),
            f" {f.before} → {f.after}" if f.before != f.after else f" {f.after}",
            el("span", " ✓" if f.right else f" ✗ asked for {f.asked}"),
            class_="right" if f.right else "wrong",
        )
        for f in findings
    )
    judged = findings and el("ul", chips, class_="findings", aria_label="what the judge sees")
    return el(
        "article",
        sentence,
        el(
            "div",
            el("figure", picture(swap.before, f"before: {swap.word}"), el("figcaption", swap.word)),
            el(
                "figure",
                picture(swap.after, f"after: {swap.replacement}"),
                el("figcaption", swap.replacement),
            ),
            el("figure", picture(ink, "change", class_="change"), el("figcaption", "what changed")),
            class_="trio",
        ),
        judged or None,
        class_="swap",
    )


def film(frames: Frames) -> Markup:
    """The same captions and noise at several moments, a row a moment."""
    rows = (
        el(
            "div",
            el("span", label),
            (picture(image, f"{caption}, {label}") for image, caption in zip(images, frames.captions)),
            class_="moment",
        )
        for label, images in zip(frames.labels, frames.rows)
    )
    return el("div", rows, class_="film", style=f"--columns:{max(4, len(frames.captions))}")


def _choice(name: str, options: list[tuple[str, str]]) -> Markup:
    buttons = (
        el("button", label, type="button", data_value=value, aria_pressed="true" if n == 0 else "false")
        for n, (value, label) in enumerate(options)
    )
    return el("div", buttons, class_="choice", role="group", aria_label=name, data_choice=name)


def _around(caption: str, word: str) -> tuple[str, str, str]:
    found = re.search(rf"\b{re.escape(word)}\b", caption, re.IGNORECASE)
    if found is None:
        return caption + " ", word, ""
    return caption[: found.start()], found[0], caption[found.end() :]


def reading_data(reading: Reading) -> dict[str, object]:
    """A reading for the page's script: maps as bytes of a stated scale, shares and gates as numbers."""
    attention = _small(reading.attention)
    # At least three times an even share, or attention that is the same everywhere would look like a strong answer.
    scale = min(1.0, max(float(attention.max(initial=0.0)), 3 / max(1, len(attention))))
    gate = None if reading.response_gate is None else _small(reading.response_gate[None])[0]
    return {
        "shape": list(attention.shape),
        "scale": round(scale, 4),
        "attention": bytes_of(attention, scale),
        "share": [round(float(v), 4) for v in reading.attention.mean((1, 2))],
        "peak": [round(float(v), 4) for v in reading.attention.max((1, 2), initial=0.0)],
        "write": None if reading.write_gate is None else [round(float(v), 4) for v in reading.write_gate],
        "gate": None if gate is None else bytes_of(gate, 1.0),
        "gateMean": None if gate is None else round(float(gate.mean()), 3),
        "gateRange": None if gate is None else [round(float(gate.min()), 3), round(float(gate.max()), 3)],
    }


def _small(maps: np.ndarray) -> np.ndarray:
    """Maps (L, H, W) averaged down until no side is longer than :data:`MAP`."""
    while max(maps.shape[1:]) > MAP and not (maps.shape[1] % 2 or maps.shape[2] % 2):
        count, height, width = maps.shape
        maps = maps.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))
    return maps
