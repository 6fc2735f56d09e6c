"""The whole page: :class:`ReportData` in, one HTML file out that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.report import pictures, scores
from reference_models.dmgan.report import stepper as steps
from reference_models.dmgan.report.charts import line_chart
from reference_models.dmgan.report.data import ReportData, Scores
from reference_models.dmgan.report.markup import Markup, el, join

ASSETS = Path(__file__).parent / "assets"
READING_NOTE = (
    "A refinement writes each word into a memory slot, then every pixel asks the slots by key and reads their "
    "values. Pick a word, with the mouse or the arrow keys, to see which pixels read it. The write gate says how "
    "much of a slot is the word (1) rather than the picture so far (0). The response gate says, per pixel, how much "
    "of what was read replaces the feature that was there."
)

JUDGE_NOTE = " Below each pair: what a judge, trained on other birds and never on a generator's, sees before and after."


def write_report(data: ReportData, path: Path | str) -> Path:
    """Write the page to ``path``, whole or not at all, and return the path."""
    path = Path(path)
    text = page(data)
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(data: ReportData) -> str:
    """The page as text. No part of it asks the network for anything."""
    style, script = (
        Markup(
            "".join((ASSETS / f"{name}.{kind}").read_text(encoding="utf-8") for name in ("report", "stepper"))
        )
        for kind in ("css", "js")
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", data.title),
        el("link", rel="icon", href="data:,"),
        el("style", style),
    )
    sections = [section for section in _sections(data) if section is not None]
    body = el("body", _header(data), el("main", sections), _footer(), el("script", script))
    return "<!doctype html>\n" + el("html", head, body, lang="en") + "\n"


def _header(data: ReportData) -> Markup:
    measured = [found for found in (data.scores, *(more for _, more in data.more_scores)) if found]
    return el(
        "header",
        el(
            "p",
            el("span", "memgan"),
            el("button", "Dark", type="button", class_="theme", aria_label="switch between light and dark"),
            class_="brand",
        ),
        el("h1", data.title),
        el("p", data.lede, class_="lede"),
        scores.headline(max(measured, key=scores.images)) if measured else None,
    )


def _sections(data: ReportData) -> list[Markup | None]:
    return [
        _section(
            "pictures",
            "From words to picture",
            READING_NOTE if any(d.readings for p in data.pictures for d in p.drawings) else "",
            pictures.gallery(data.pictures),
            pictures.explorer(data.pictures),
        )
        if data.pictures
        else None,
        _section(
            "swaps",
            "One word changed",
            "The noise stays the same, one word of the caption does not."
            + (JUDGE_NOTE if any(swap.swapped for swap in data.swaps) else ""),
            el("div", (pictures.swap_card(swap) for swap in data.swaps), class_="swaps"),
        )
        if data.swaps
        else None,
        _section("word-by-word", "Word by word", steps.NOTE, stepped)
        if (stepped := steps.stepper(data.swaps))
        else None,
        _scores(data.scores) if data.scores else None,
        *(_more_scores(title, more) for title, more in data.more_scores),
        _section(
            "training",
            "Training",
            "Left: the run that made these weights. Right, where there is one: the run that just went on from them. "
            "Thin lines are the log, bold ones its moving average.",
            el("div", (line_chart(chart) for chart in data.charts), class_="charts"),
            pictures.film(data.frames) if data.frames else None,
        )
        if data.charts or data.frames
        else None,
        _section(
            "provenance",
            "How this was made",
            "",
            scores.protocol("This run", data.provenance),
            scores.protocol("Configuration", data.config),
        )
        if data.provenance or data.config
        else None,
    ]


def _scores(measured: Scores) -> Markup:
    floors = (
        "Floor: what the score would be if the captions did not matter, or by chance. Ceiling: faultless "
        "pictures of the same captions. The tick on a bar is what the gate asks for."
    )
    attributes = scores.attributes(measured)
    return _section(
        "scores",
        "Measured",
        join([measured.note, " " if measured.note else "", floors]),
        scores.verdict(measured),
        scores.table(measured),
        attributes and el("h3", "Attribute by attribute"),
        attributes,
        scores.protocol("Protocol", measured.protocol),
    )


def _more_scores(title: str, measured: Scores) -> Markup:
    return _section(
        None,
        title,
        measured.note,
        scores.verdict(measured),
        scores.table(measured),
        scores.protocol("Protocol", measured.protocol),
    )


def _section(name: str | None, title: str, note: str, *children: object) -> Markup:
    return el("section", el("h2", title), el("p", note, class_="note") if note else None, children, id=name)


def _footer() -> Markup:
    return el(
        "footer",
        el("p", "One file, no requests: it can be kept, mailed and opened offline."),
    )
