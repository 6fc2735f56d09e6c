"""The stepper: both captions' readings reach the script, and a page with it is still one whole page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reference_models.dmgan.report.birds import swaps
from reference_models.dmgan.report.data import Drawing, Picture, Reading, ReportData, Swap
from reference_models.dmgan.report.markup import VOID
from reference_models.dmgan.report.page import ASSETS, page
from reference_models.dmgan.report.stepper import can_step, stepper
from reference_models.dmgan.sampling import load_model

WORDS = ("a", "<b>red</b>", "bird")


def image(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def drawing(seed: int, words: int = 3, *, gates: bool = True) -> Drawing:
    rng = np.random.default_rng(seed)
    readings = []
    for size in (4, 8):
        attention = rng.random((words, size, size))
        write, response = (rng.random(words), rng.random((size, size))) if gates else (None, None)
        readings.append(Reading(attention / attention.sum(0), write, response))
    return Drawing((image(4, seed), image(8, seed), image(16, seed)), tuple(readings))


def swap() -> Swap:
    both = drawing(0), drawing(1)
    before, after = (one.images[-1] for one in both)
    return Swap("a <b>red</b> bird", WORDS[1], "blue", before, after, words=WORDS, place=1, drawings=both)


def steps(text: str) -> list[dict]:
    found = re.search(r'<script type="application/json" id="steps">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


def test_both_readings_of_every_refinement_reach_the_script() -> None:
    (data,) = steps(page(ReportData("T", "", swaps=(swap(),))))
    assert data["words"] == list(WORDS)
    assert data["after_words"] == ["a", "blue", "bird"]
    assert data["place"] == 1
    assert [reading["shape"] for reading in data["before"]] == [[3, 4, 4], [3, 8, 8]]
    assert data["before"][0]["attention"] != data["after"][0]["attention"]
    assert all(len(reading["write"]) == 3 for reading in data["after"])


def test_the_page_stays_whole_and_every_name_is_used_once() -> None:
    readings = (Picture("a bird", ("a", "bird"), (drawing(3, 2),)),)
    text = page(ReportData("T", "", pictures=readings, swaps=(swap(), swap())))
    body = re.sub(r"<script.*?</script>", "", text.split("</head>")[1], flags=re.DOTALL)
    opened, closed = (
        Counter(re.findall(r"<([a-z0-9]+)[\s>]", body)),
        Counter(re.findall(r"</([a-z0-9]+)>", body)),
    )
    assert {tag: count for tag, count in opened.items() if tag not in VOID} == closed - Counter(html=1)
    names = re.findall(r'<[a-z]+[^<>]*? id="([^"]+)"', text)
    assert len(names) == len(set(names)), names
    assert {"word-by-word", "steps", "readings"} <= set(names)
    assert "<b>red</b>" not in text


def test_swaps_without_readings_of_every_word_are_left_out() -> None:
    whole = swap()
    assert can_step(whole)
    assert not can_step(replace(whole, drawings=None))
    assert not can_step(replace(whole, drawings=(drawing(0), drawing(1, 4))))
    assert not can_step(replace(whole, drawings=(Drawing((image(4, 0),)), Drawing((image(4, 0),)))))
    assert stepper([replace(whole, drawings=None)]) is None
    assert "Word by word" not in page(ReportData("T", "", swaps=(replace(whole, drawings=None),)))


def test_a_model_without_gates_is_stepped_through_all_the_same() -> None:
    plain = replace(swap(), drawings=(drawing(0, gates=False), drawing(1, gates=False)))
    text = stepper([plain])
    assert text is not None
    assert "Response gate" not in text
    assert "write gate" not in text
    assert "read 2" in text


def test_swaps_of_a_model_can_be_stepped_through(model_folder: Path) -> None:
    (found,) = swaps(load_model(model_folder), ["a bird with a red crown"])
    assert can_step(found)
    assert found.words[found.place] == found.word == "red"
    assert found.drawings is not None
    assert np.array_equal(found.drawings[0].images[-1], found.before)
    assert np.array_equal(found.drawings[1].images[-1], found.after)


def test_the_script_asks_nothing_of_the_network_and_parses() -> None:
    script, style = (ASSETS / f"stepper.{kind}" for kind in ("js", "css"))
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|sendBeacon|WebSocket", script.read_text())
    assert not re.search(r"@import|url\(", style.read_text())
    if (node := shutil.which("node")) is None:
        pytest.skip("no node to parse the script with")
    subprocess.run([node, "--check", str(script)], check=True)
