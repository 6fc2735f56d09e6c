"""``evaluate`` of a model: one process and several give one result; what is wrong is told before anything is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.commands.evaluate import Evaluate
from reference_models.dmgan.commands.evaluate_networks import MakeReference, TrainJudges
from reference_models.dmgan.sampling import SHIPPED
from reference_models.dmgan.state_file import sha256
from tests.reference_models.dmgan.training.conftest import run


def test_processes_that_share_an_evaluation_give_the_figures_of_one(tmp_path: Path) -> None:
    options = ["evaluate", "--model", SHIPPED, "--count", "23", "--batch", "5", "--out"]
    for name, processes in (("one", 1), ("two", 2)):
        done = run(*options, tmp_path / f"{name}.json", processes=processes)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("gate: ") == 1, "one process speaks"
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one["scores"] == two["scores"]
    assert one["protocol"] == two["protocol"]
    assert one["protocol"]["answers"] == one["protocol"]["count"] == 23
    assert one["generator_sha256"] == two["generator_sha256"] == sha256(SHIPPED / "generator.safetensors")
    assert one["gate"]["terms"]["precision"]["value"] == one["scores"]["among_answers"]["precision"]["value"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--networks", "nowhere"), r"nowhere/scene.safetensors (with its .json) is missing; make it with"),
        (("--count", "4"), "`count` must be at least 5 images, got 4"),
        (("--protocol", "tf"), "`--protocol tf` scores folders"),
        (("--real", "somewhere"), "give one of `--run DIR`, `--model DIR` or `--real DIR --fake DIR`"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_drawn(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--model", str(SHIPPED), *options]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("evaluate: ")
    assert told in output.err
    assert "drew" not in output.out


def test_the_networks_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Evaluate().networks == TrainJudges().out == MakeReference().out
    assert (Evaluate().networks / "scene.safetensors").is_file()


def test_a_model_of_other_words_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in SHIPPED.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    text = (folder / "vocabulary.json").read_text().replace('"yellow"', '"yallow"')
    (folder / "vocabulary.json").write_text(text)
    assert main(["evaluate", "--model", str(folder)]) == 2
    assert "knows other words than the embedded birds' captions" in capsys.readouterr().err
