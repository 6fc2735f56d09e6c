"""What ships is the run's generator with statistics of its own, in half the bytes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from reference_models.dmgan import shipping
from reference_models.dmgan.commands.options import split_config
from reference_models.dmgan.config import birds_demo
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.evaluation.gate import COUNT, gate
from reference_models.dmgan.sampling import SHIPPED, generate, load_model
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.training.log import read_log
from reference_models.dmgan.training.weights import load_generator, read_config, write_config


@pytest.fixture
def finished(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEMGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shipping, "BATCHES", 3)
    monkeypatch.setattr(shipping, "BATCH", 6)
    run = tmp_path / "run"
    shutil.copytree(model_folder, run / "export")
    config = read_config(run / "export")
    write_config(
        run / "export", dataclasses.replace(config, data=dataclasses.replace(config.data, images=12))
    )
    lines = [
        {"step": step, "images": 2 * step, "g": 1.0, "seconds": seconds}
        for step, seconds in ((1, 0.2), (2, 0.6), (3, 1.0), (2, 0.4), (3, 0.8), (4, 2.5))
    ]  # resumed from step 1
    origin = {"folder": "before", "generator_sha256": "abc", "log": [{"step": 7, "images": 21, "g": 2.0}]}
    (run / "started_from.json").write_text(json.dumps(origin))
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_run_becomes_a_folder_that_draws(finished: Path, tmp_path: Path) -> None:
    out = shipping.ship(finished, tmp_path / "out")
    config = read_config(out)  # as they are stored: load_model folds BatchNorm away
    before, after = load_generator(finished / "export", config), load_generator(out, config)
    for one, two in zip(before.parameters(), after.parameters()):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)
    changed = [
        not torch.allclose(one.running_var, two.running_var)
        for one, two in zip(before.modules(), after.modules())
        if isinstance(one, _BatchNorm)
    ]
    assert all(changed), "statistics of fresh weights are not those of what flows through them"
    assert next(iter(generate(load_model(out), ["a red bird"]))).images[-1].isfinite().all()
    log = [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [7, 8, 9, 10, 11], "counted on from what it started from"
    assert log[-1]["images"] == 21 + 8
    how = json.loads((out / "how.json").read_text())
    assert how["images"] == 8
    assert how["seconds"] == 1.0 + 2.5, "of both processes"
    assert how["images_in_all"] == 29
    assert how["started_from"] == {"folder": "before", "generator_sha256": "abc"}
    assert "--start-from before " in how["commands"][0]
    sizes = [(folder / "generator.safetensors").stat().st_size for folder in (finished / "export", out)]
    assert sizes[1] < 0.7 * sizes[0]


def test_a_run_without_a_log_is_refused(finished: Path, tmp_path: Path) -> None:
    (finished / "log.jsonl").write_text("")
    with pytest.raises(CheckpointError, match=r"log\.jsonl holds no line"):
        shipping.ship(finished, tmp_path / "out")


def test_the_command_that_is_told_asks_for_the_configuration_that_was_run() -> None:
    config = birds_demo()
    changed = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, batch_size=24, tensorboard=not config.train.tensorboard),
        loss=dataclasses.replace(config.loss, damsm=config.loss.damsm + 0.5),
    )
    train, ship = shipping.commands_of(changed, Path("runs/birds"), Path("out"), None)
    words = shlex.split(train)
    assert words[:4] == ["python", "-m", "reference_models.dmgan", "train"]
    parser = argparse.ArgumentParser()
    for option in ("--encoders", "--out"):
        parser.add_argument(option, required=True)
    assert split_config(words[4:], parser)[1] == changed
    assert ship == "python -m reference_models.dmgan.shipping --run runs/birds --out out"


def test_what_ships_is_what_its_json_says() -> None:
    how = json.loads((SHIPPED / "how.json").read_text())
    assert how["sha256"] == {path.name: sha256(path) for path in sorted(SHIPPED.glob("*.safetensors"))}
    last = read_log(SHIPPED / "training_log.jsonl")[-1]
    assert last["images"] <= how["images_in_all"] < last["images"] + 2_000
    assert how["seconds"] > 60
    assert [command.split()[3] for command in how["commands"][:1]] == ["train"]
    scored = json.loads((SHIPPED / "evaluation.json").read_text())
    assert scored["generator_sha256"] == how["sha256"]["generator.safetensors"]
    assert scored["protocol"]["count"] == COUNT
    assert gate(scored).passed


def test_what_ships_is_at_most_twenty_megabytes() -> None:
    files = [path for path in SHIPPED.parent.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {"birds_demo", "birds_eval"}
    assert sum(path.stat().st_size for path in files) <= 20e6
