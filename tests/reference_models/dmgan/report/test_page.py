"""The page of small made-up data: whole, self-contained, escaped."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from reference_models.dmgan.report.data import (
    Chart,
    Drawing,
    Finding,
    Frames,
    Metric,
    Panel,
    Picture,
    Reading,
    ReportData,
    Scores,
    Series,
    Swap,
)
from reference_models.dmgan.report.markup import VOID
from reference_models.dmgan.report.page import page, write_report

NASTY = 'a </script> "bird" <b onload=x> & 5 < 7'


def image(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def drawing(words: int, seed: int) -> Drawing:
    rng = np.random.default_rng(seed)
    readings = []
    for size in (4, 8):
        attention = rng.random((words, size, size))
        readings.append(Reading(attention / attention.sum(0), rng.random(words), rng.random((size, size))))
    return Drawing((image(4, seed), image(8, seed), image(16, seed)), tuple(readings))


def report_data() -> ReportData:
    pictures = (
        Picture("a kingfisher, quick", ("a", "kingfisher", "quick"), (drawing(3, 0), drawing(3, 1))),
        Picture(NASTY, ("<b>", "bird"), (drawing(2, 2),), unknown=("<i>",), real=image(16, 3)),
    )
    metrics = (
        Metric(
            "attribute progress",
            0.7,
            0,
            1,
            unit="%",
            interval=(0.65, 0.74),
            limit=0.6,
            passed=True,
            note="a & b",
        ),
        Metric("recall", 0.2, 0, 0.8, limit=0.3, passed=False),
        Metric("FID", 40, 120, 2, better="lower"),
    )
    series = Series("G <loss>", (0, 10, 20), (3.0, float("nan"), 1.5))
    return ReportData(
        title="Report & title",
        lede="Lede.",
        pictures=pictures,
        swaps=(
            Swap(
                "a red bird",
                "red",
                "blue",
                image(16, 4),
                image(16, 5),
                Finding("crown", "blue", "red", "blue"),
                (Finding("tail", "red", "red", "black"),),
            ),
        ),
        charts=(Chart("Loss", "of both", (Panel("images", (series,)), Panel("now", (series,), live=True))),),
        frames=Frames(("before", "after"), ((image(16, 6),), (image(16, 7),)), ("a bird",)),
        scores=Scores(metrics, False, {"crown": metrics[0]}, {"extractors": {"judge": "ab12"}}),
        provenance={"seed": 7},
        config={"train": {"batch_size": 2}},
    )


class Walker(HTMLParser):
    """Checks that every element is closed where it should be, and keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID, f"<{tag}/> closes itself"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> crosses another element"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def walked() -> Walker:
    walker = Walker()
    walker.feed(page(report_data()))
    walker.close()
    return walker


def test_every_element_is_closed_in_order(walked: Walker) -> None:
    assert walked.open == []
    assert [tag for tag, _ in walked.tags].count("article") == 3  # two pictures and a swap


def test_nothing_is_asked_of_the_network(walked: Walker) -> None:
    assert walked.links
    assert all(link.startswith(("data:", "#")) for link in walked.links)
    style = Path(__file__).parents[4] / "reference_models/dmgan/report/assets/report.css"
    assert not re.search(r"@import|url\(", style.read_text())
    script = style.with_suffix(".js").read_text()
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|sendBeacon|WebSocket", script)


def test_every_caption_and_word_is_there_as_text(walked: Walker) -> None:
    text = walked.text
    for wanted in (
        "a kingfisher, quick",
        NASTY,
        "kingfisher",
        "quick",
        "<b>",
        "<i>",
        "red",
        "blue",
        "Report & title",
    ):
        assert wanted in text, wanted


def test_a_caption_cannot_add_elements_or_handlers(walked: Walker) -> None:
    assert not any(name.startswith("on") for _, attributes in walked.tags for name in attributes)
    assert [tag for tag, _ in walked.tags].count("script") == 2  # the readings and the page's own


def test_readings_of_every_refinement_reach_the_script() -> None:
    found = re.search(r'<script type="application/json" id="readings">(.*?)</script>', page(report_data()))
    assert found
    readings = json.loads(found[1])
    assert [[len(drawing) for drawing in picture] for picture in readings] == [[2, 2], [2]]
    first = readings[0][0][0]
    assert first["shape"] == [3, 4, 4]
    assert sum(first["share"]) == pytest.approx(1, abs=1e-3)


def test_the_gate_names_what_is_missing(walked: Walker) -> None:
    text = " ".join(walked.text)
    assert "The joint gate is not passed:" in text
    assert "recall 0.2, asked 0.3" in text
    assert "attribute progress 70" not in text.split("not passed:")[1].split(".")[0]


def test_a_gate_of_few_images_says_so_and_the_top_shows_the_measurement_with_the_most() -> None:
    def scores(count: int, recall: float) -> Scores:
        passed = recall >= 0.3
        metric = Metric("recall", recall, 0, 1, unit="%", limit=0.3, passed=passed)
        return Scores((metric,), passed, {}, {"count": count})

    few, many = scores(1_000, 0.32), scores(10_000, 0.19)
    walker = Walker()
    walker.feed(page(ReportData("T", "L", scores=few, more_scores=(("The full measurement", many),))))
    text = " ".join(walker.text)
    top, measured = text.split("Measured", 1)
    assert "19.0 %" in top
    assert "32.0 %" not in top
    assert "1,000 images: the gate is meant for 10,000" in measured.split("The full measurement")[0]
    assert "is meant for" not in measured.split("The full measurement")[1]


def test_an_empty_report_is_still_a_page() -> None:
    walker = Walker()
    walker.feed(page(ReportData("Nothing", "No pictures yet.")))
    assert walker.open == []
    assert "section" not in [tag for tag, _ in walker.tags]


def test_large_attention_maps_are_averaged_down(tmp_path: Path) -> None:
    attention = np.full((2, 128, 128), 0.5)
    big = Drawing((image(128, 0), image(256, 1)), (Reading(attention, None, attention[0]),))
    path = write_report(
        ReportData("Big", "", (Picture("a b", ("a", "b"), (big,)),)), tmp_path / "r" / "report.html"
    )
    text = path.read_text()
    assert '"shape":[2,32,32]' in text
    assert "data:image/jpeg" in text  # 256 pixels as PNG would be several times larger


def test_readings_must_match_the_refinements() -> None:
    with pytest.raises(ValueError, match="one entry a refinement, 2 for 3 images, got 1"):
        Drawing((image(4, 0), image(8, 0), image(16, 0)), (Reading(np.ones((1, 4, 4))),))
