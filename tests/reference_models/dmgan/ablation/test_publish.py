"""Stored lines → tables, verdicts and figures, and the commands that make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.ablation.publish import publish
from reference_models.dmgan.ablation.results import read_results
from reference_models.dmgan.ablation.summary import comparisons
from reference_models.dmgan.ablation.tables import results_block, verdict
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.pages import fill
from reference_models.dmgan.state_file import sha256
from tests.reference_models.dmgan.ablation.conftest import small_config
from tests.reference_models.dmgan.ablation.test_summary import line, six_seeds

MARKS = "".join(f"<!-- {name} -->\nold\n<!-- end {name} -->\n\n" for name in ("cost", "results", "swaps"))
PAGE = f"# Title\n\nWords.\n\n{MARKS}End.\n"


def stored(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    facts = {"plan": "abc", "commit": "c" * 40, "device": "cpu, 1 threads", "evaluation": {"count": 10_000}}
    return [{**one, **facts} for one in lines]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "ablation.md").write_text(PAGE)
    return folder


def test_without_results_the_page_keeps_what_it_says(docs: Path) -> None:
    assert publish(docs) == [docs / "ablation.md"]
    text = (docs / "ablation.md").read_text()
    assert text.count("old") == 2
    assert "| `wide` | 802,520 |" in text
    assert text.startswith("# Title\n\nWords.\n")
    assert text.endswith("End.\n")
    assert not (docs / "figures").exists()


def test_results_are_stored_and_shown_and_filling_again_changes_nothing(docs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in stored(six_seeds())))
    written = publish(docs, out)
    assert [path.name for path in written] == [
        "ablation.jsonl", "ablation_progress.svg", "ablation_differences.svg", "ablation.md",
    ]  # fmt: skip
    assert len(read_results(docs / "results" / "ablation.jsonl")) == 36
    before = {path: path.read_bytes() for path in written}
    text = before[docs / "ablation.md"].decode()
    for wanted in (
        "| `full` | 6 | 72.5 ± 1.9 |",
        "| each part | memory > baseline | 6 | +10.0 | +10.0 to +10.0 | +10.0 to +10.0 (96.9%) | 0.016 | 0.047 |",
        "**memory against baseline**: +10.0 points of attribute progress; shown to be better (adjusted p 0.047).",
        "not shown to be better (adjusted p 1.000)",
        "Seeds 0, 1, 2, 3, 4, 5; protocol `abc`",
        "](figures/ablation_differences.svg)",
        "| `full` | 799,586 | 327,170 |",
    ):
        assert wanted in text, wanted
    assert text.count("old") == 1  # no swaps are stored
    publish(docs)
    assert {path: path.read_bytes() for path in written} == before


def test_the_first_stage_of_an_incomplete_seed_is_stored_too(docs: Path, tmp_path: Path) -> None:
    export = tmp_path / "out" / "seed0" / "first" / "export"
    export.mkdir(parents=True)
    for name in ("config.json", "generator.safetensors"):
        (export / name).write_text(name)
    digest = {"weights": sha256(export / "generator.safetensors")}
    lines = stored([line(0, "full"), line(0, "first") | digest])
    (tmp_path / "out" / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    kept = docs / "results" / "first_stages" / "seed0"
    assert kept in publish(docs, tmp_path / "out")
    assert (kept / "generator.safetensors").read_text() == "generator.safetensors"


def test_too_few_seeds_are_said_to_be_too_few() -> None:
    two = [one for one in six_seeds() if one["seed"] < 2]
    told = verdict(comparisons(two)[0])
    assert "not shown" in told
    assert "2 pairs could not show it: their smallest adjusted p is 0.750" in told
    one = results_block(stored([line(0, "full")]))
    assert "No claim can be tested before two seeds" in one
    assert "1 of the plan's 30 runs so far" in one
    assert "so far" not in results_block(stored(six_seeds()))


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(DataError, match="must hold the marks <!-- results -->"):
        fill(page, "results", "text")
    assert page.read_text() == "no marks"


def test_damaged_swaps_are_refused(docs: Path) -> None:
    (docs / "results").mkdir()
    (docs / "results" / "swaps.json").write_text('{"scores": {}}')
    with pytest.raises(DataError, match="not a result of `ablate swaps`"):
        publish(docs)


@pytest.mark.usefixtures("own_cache")
def test_the_command_runs_an_ablation_and_fills_the_page(
    docs: Path,
    encoders_folder: Path,
    birds: Birds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The command would draw them in processes of their own: slow to start, and eight birds are drawn at once.
    monkeypatch.setattr("reference_models.dmgan.data.open.open_dataset", lambda *_, **__: birds)
    sizes = small_config()
    out = str(tmp_path / "out")
    settings = {
        "text.word-dim": 8, "text.embedding-dim": 6, "text.dropout": 0.0, "image-encoder.width": 4,
        "image-encoder.image-size": 32, "generator.channels": 4, "generator.noise-dim": 5,
        "generator.condition-dim": 6, "generator.word-dim": 8, "discriminator.width": 4,
        "discriminator.word-dim": 8, "train.batch-size": 2, "train.precision": "float32", "data.images": 8,
    }  # fmt: skip
    assert sizes.generator.channels == settings["generator.channels"]
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    run = [
        "ablate",
        "run",
        "--out",
        out,
        "--encoders",
        str(encoders_folder),
        "--seeds",
        "0",
        "--arms",
        "full",
    ]
    small = ["--images", "4", "--first-images", "2", "--count", "60"]
    assert main([*run, *small, *flags]) == 0
    told = capsys.readouterr().out
    assert "MFLOP an image" in told
    assert "seed 0, full: finished" in told
    assert main(["ablate", "table", "--out", out, "--docs", str(docs)]) == 0
    text = (docs / "ablation.md").read_text()
    assert "| `full` | 1 |" in text
    assert "60 images scored a run" in text
    assert main([*run, *small, *flags, "--generator.first-size", "32"]) == 2
    assert "`config.generator.first_size` 16, this one has 32" in capsys.readouterr().err


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "--help"]) == 0
    assert "ablate swaps --model DIR" in capsys.readouterr().out
    assert main(["ablate", "half"]) == 2
    assert main(["ablate", "cost"]) == 0
    assert "799,586" in capsys.readouterr().out
