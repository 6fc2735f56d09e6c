"""R1: the discriminators' slope at real images is part of their loss, as often and as heavily as configured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from reference_models.dmgan.config import Config
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.training import step
from reference_models.dmgan.training.log import read_log
from reference_models.dmgan.training.train import Trainer
from tests.reference_models.dmgan.training.conftest import encoders, images, small


def penalised(weight: float, every: int = 1, **train: object) -> Config:
    config = small(**train)
    loss = dataclasses.replace(config.loss, gradient_penalty=weight, gradient_penalty_every=every)
    return dataclasses.replace(config, loss=loss)


def trained(config: Config, out: Path) -> Trainer:
    made = Trainer(config, images(), encoders(config), out, quiet=True)
    made.run()
    return made


def slope(trainer: Trainer) -> float:
    """The mean squared gradient of the largest discriminator at real images."""
    items = [trainer.images.item(index, None, train=False) for index in range(8)]
    real = torch.stack([torch.as_tensor(item.image) for item in items]).float()
    real = (real.movedim(-1, 1) if real.shape[1] != 3 else real) / 127.5 - 1
    real.requires_grad_()
    _, unconditional = trainer.networks.discriminators[-1](real, torch.zeros(8, 8))
    (gradient,) = torch.autograd.grad(unconditional.sum(), real)
    return float(gradient.square().sum((1, 2, 3)).mean())


def test_a_penalty_makes_the_discriminators_flatter(tmp_path: Path) -> None:
    rates = {"images": 4 * 25, "discriminator_learning_rate": 2e-3}
    free = trained(penalised(0.0, **rates), tmp_path / "free")
    flat = trained(penalised(30.0, **rates), tmp_path / "flat")
    assert slope(flat) < 0.5 * slope(free)


def test_it_is_due_every_so_many_steps_and_heavier_by_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A penalty of constant value, so that what it adds to the loss shows its weight.
    monkeypatch.setattr(step, "_r1", lambda logits, real: 0.0 * logits.sum() + 5.0)
    lines = {}
    for name, config in {"free": penalised(0.0, images=16), "every": penalised(0.1, 2, images=16)}.items():
        trained(config, tmp_path / name)
        lines[name] = read_log(tmp_path / name / "log.jsonl")
    added = [two["d32"] - one["d32"] for one, two in zip(lines["free"], lines["every"])]
    assert added == pytest.approx([1.0, 0.0, 1.0, 0.0], abs=1e-4)


def test_never_is_refused() -> None:
    with pytest.raises(ConfigError, match="gradient_penalty_every` must be at least 1, got 0"):
        penalised(1.0, 0)
