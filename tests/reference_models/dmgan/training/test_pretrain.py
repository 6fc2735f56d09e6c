"""DAMSM pre-training: the encoders learn to find each other, and a stopped run goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from reference_models.dmgan.config import Config
from reference_models.dmgan.errors import CheckpointError, TrainingStopped
from reference_models.dmgan.training.log import read_log
from reference_models.dmgan.training.pretrain import Pretrainer
from reference_models.dmgan.training.weights import load_encoders
from tests.reference_models.dmgan.training.conftest import TINY, images, run, small


def config(**pretrain: object) -> Config:
    base = small()
    settings = {"batch_size": 6, "images": 6 * 8} | pretrain
    text = dataclasses.replace(base.text, dropout=0.3)
    return dataclasses.replace(base, text=text, pretrain=dataclasses.replace(base.pretrain, **settings))  # type: ignore[arg-type]


def test_the_loss_falls_and_the_encoders_can_be_loaded(tmp_path: Path) -> None:
    settings = config(images=6 * 60, learning_rate=5e-3)
    Pretrainer(settings, images(), tmp_path, quiet=True).run()
    lines = read_log(tmp_path / "log.jsonl")
    assert sum(line["damsm"] for line in lines[-4:]) < 0.9 * sum(line["damsm"] for line in lines[:4])
    load_encoders(tmp_path, settings)


def test_two_halves_are_the_whole_bit_for_bit(tmp_path: Path) -> None:
    whole = Pretrainer(config(), images(), tmp_path / "whole", quiet=True)
    whole.run()
    first = Pretrainer(config(), images(), tmp_path / "halves", quiet=True)
    stop_after(first, 4)
    torch.manual_seed(999)
    second = Pretrainer(config(), images(), tmp_path / "halves", quiet=True)
    assert second.resume()
    assert second.step == 4
    second.run()
    for one, two in zip(whole.encoders.text.parameters(), second.encoders.text.parameters()):
        assert torch.equal(one, two)
    for one, two in zip(
        whole.encoders.image.state_dict().values(), second.encoders.image.state_dict().values()
    ):
        assert torch.equal(one, two)


def stop_after(trainer: Pretrainer, steps: int) -> None:
    """As Ctrl-C does, after a number of steps."""
    import os
    import signal

    real = trainer.one_step

    def one_step(batch: object) -> float:
        loss = real(batch)  # type: ignore[arg-type]
        if trainer.step == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    trainer.one_step = one_step  # type: ignore[method-assign]
    with pytest.raises(
        TrainingStopped, match=f"after step {steps} of 8, saved; the same command with --resume goes on"
    ):
        trainer.run()


def test_another_configuration_is_refused_by_field(tmp_path: Path) -> None:
    Pretrainer(config(), images(), tmp_path, quiet=True).run()
    with pytest.raises(
        CheckpointError, match=r"pretrain\.learning_rate = 0\.002, but this run asks for 0\.1"
    ):
        Pretrainer(config(learning_rate=0.1), images(), tmp_path, quiet=True).resume()


def test_a_loss_that_is_not_finite_stops_at_once(tmp_path: Path) -> None:
    made = Pretrainer(config(), images(), tmp_path, quiet=True)
    with torch.no_grad():
        next(made.encoders.image.parameters()).fill_(float("nan"))
    with pytest.raises(
        TrainingStopped, match="the loss of step 1 is nan; go on .* lower --pretrain.learning-rate"
    ):
        made.run()


def test_the_command(tmp_path: Path) -> None:
    options = ["pretrain", *TINY, "--pretrain.images", "12", "--out", tmp_path]
    done = run(*options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "text_encoder.safetensors").is_file()
    assert run(*options).returncode == 2, "holds a run already"
    assert run(*options, "--resume").returncode == 0
