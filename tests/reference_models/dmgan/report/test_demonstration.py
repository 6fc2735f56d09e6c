"""The demo and the report command on a tiny model: every part is there, and what is missing is said."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from memgan.backends.native import loader
from reference_models.dmgan.__main__ import main
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.evaluation.table import lines
from reference_models.dmgan.report.demonstration import Clock, Demo, check_weights, demonstrate, draw
from reference_models.dmgan.report.from_folder import report_of
from reference_models.dmgan.report.going_on import go_on
from reference_models.dmgan.report.measured import scores_of
from reference_models.dmgan.sampling import load_model
from reference_models.dmgan.state_file import sha256


def test_the_demo_draws_first_and_ends_with_the_page(model_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    demo = Demo(
        captions=("a red bird with a blue tail",),
        out=tmp_path,
        minutes=0,
        count=0,
        drawings=2,
        model=model_folder,
    )
    path = demonstrate(demo, said.append)
    assert "samples.png" in said[0]
    assert str(path) in said[-1]
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.width > 500
    text = path.read_text()
    assert "a red bird with a blue tail" in text
    assert "One word changed" in text
    assert len(text) < 5_000_000


def test_the_first_picture_waits_for_no_compiler(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> None:
        raise AssertionError("the kernels were asked for")

    demo = Demo(captions=("a red bird",), out=tmp_path, drawings=1, model=model_folder)
    model = load_model(model_folder)
    monkeypatch.setattr(loader, "load", build)
    assert draw(demo, model, Clock(0.0, lambda _: None))[0].caption == "a red bird"


def test_going_on_starts_from_the_model_and_logs(model_folder: Path, tmp_path: Path) -> None:
    birds = Birds("train", images=4, size=32, cached=False)
    gone_on = go_on(model_folder, birds, ["a red tail"], tmp_path, minutes=0, workers=0)
    assert gone_on.images == 2  # one step of two
    assert gone_on.log[0]["step"] == 1
    assert gone_on.discriminators == "shipped"
    assert gone_on.frames.labels[0] == "as shipped"
    assert len(gone_on.frames.rows) == 3
    data = report_of(model_folder, ["a red tail"], judge=False)
    before = data.pictures[0].drawings[0].images[-1]
    assert (
        abs(gone_on.frames.rows[0][0].astype(int) - before).max() <= 1
    )  # nothing was trained before it was drawn


def test_discriminators_that_are_not_shipped_start_from_nothing(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    (folder / "discriminators.safetensors").unlink()
    birds = Birds("train", images=4, size=32, cached=False)
    assert (
        go_on(folder, birds, ["a tail"], tmp_path / "run", minutes=0, workers=0).discriminators
        == "from scratch"
    )


def test_missing_weights_are_named_with_the_command_that_makes_them(
    tmp_path: Path, model_folder: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/config\.json is missing; .*train --encoders"):
        check_weights(Demo(model=tmp_path / "nowhere"))
    with pytest.raises(
        FileNotFoundError, match=r"judges/judge\.safetensors is missing; .*train-judges --out"
    ):
        check_weights(Demo(model=model_folder, networks=tmp_path / "judges"))


def test_the_report_command_takes_logs_and_results(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    lines = [
        {"images": n, "g": 3.0, "damsm": 1.0, "d32": 1.2, "d32_real": 0.6, "d32_fake": 0.4} for n in (10, 20)
    ]
    log.write_text("\n".join(map(json.dumps, lines)) + "\n{half")
    result = tmp_path / "result.json"
    scores = {"fid": {"value": 12.0, "real": 1.0}, "precision": {"value": 0.6, "real": 0.8}}
    result.write_text(json.dumps({"protocol": {"name": "embedded", "count": 50}, "scores": scores}))
    out = tmp_path / "page.html"
    arguments = ["report", "a red tail", "--model", str(model_folder), "--out", str(out), "--no-judge"]
    assert main([*arguments, "--log", str(log), "--result", str(result)]) == 0
    assert str(out) in capsys.readouterr().out
    text = out.read_text()
    for wanted in ("Discriminators", "Who is taken for real", "FID", "50 images, measured earlier"):
        assert wanted in text, wanted
    assert main([*arguments, "--result", str(log)]) == 2
    assert re.search(r"report: .*log\.jsonl: not JSON", capsys.readouterr().err)


def test_scores_of_other_weights_are_left_out_and_it_says_so(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, page = tmp_path / "run", tmp_path / "page.html"
    shutil.copytree(model_folder, run / "export")
    arguments = ["report", "a red tail", "--model", str(run), "--out", str(page), "--no-judge"]
    scores = {"fid": {"value": 12.0, "real": 1.0}}
    mine = sha256(model_folder / "generator.safetensors")
    for digest, shown in ((mine, True), ("0" * 64, False)):
        result = {"protocol": {"name": "embedded"}, "scores": scores, "generator_sha256": digest}
        (run / "evaluation.json").write_text(json.dumps(result))
        assert main(arguments) == 0
        assert ("scores are left out: " in capsys.readouterr().out) is not shown
        assert ("scores are left out: " in page.read_text()) is not shown
        assert ("measured earlier" in page.read_text()) is shown


def test_the_gate_is_shown_beside_the_right_answers_and_the_species_beside_their_ceiling() -> None:
    block = {"value": 0.2, "real": 0.9}
    terms = {name: {"value": 0.2, "limit": 0.3, "passed": False} for name in ("precision", "recall")}
    scores = {
        "among_answers": {"precision": block, "recall": block, "fid": {"value": 10.0, "real": 0.5}},
        "precision": {"value": 0.01, "real": 0.97, "answers": 0.002},
        "fid": {"value": 15.0, "real": 0.3, "answers": 7.0},
    }
    result = {"protocol": {}, "scores": scores, "gate": {"passed": False, "terms": terms}}
    metrics = {metric.name: metric for metric in scores_of(result).metrics}
    assert metrics["precision"].value == 0.2
    assert metrics["precision"].passed is False
    assert metrics["precision, species"].limit is None
    assert metrics["precision, species"].floor is None, "no bar: it would run from 0 to almost 0"
    assert metrics["precision, species"].ceiling == 0.002  # what faultless pictures reach
    assert metrics["FID, species"].ceiling == 7.0
    table = "\n".join(lines(result | {"protocol": {"name": "embedded", "count": 9, "reference_count": 50}}))
    assert re.search(r"right answers.*\n  FID +10 +real 0.5\n  precision +20.0%", table), table
    assert re.search(r"species.*\n  FID +15 +real 0.3   right answers 7\n", table), table
    # A result from before says what it said.
    old = scores_of({"protocol": {}, "scores": {"precision": block}, "gate": result["gate"]})
    assert [metric.name for metric in old.metrics if metric.limit == 0.3] == ["precision"]


def test_a_model_of_other_data_needs_captions(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["data"]["layout"] = "cub"
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["report", "--model", str(folder), "--out", str(tmp_path / "page.html")]) == 2
    assert "give at least one caption" in capsys.readouterr().err
    assert main(["report", "a red tail", "--model", str(folder), "--out", str(tmp_path / "page.html")]) == 0
