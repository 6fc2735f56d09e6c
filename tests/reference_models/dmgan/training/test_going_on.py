"""What a run may be changed to when it goes on, and what keeps two runs apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_models.dmgan.commands.train import main
from reference_models.dmgan.data.batch import collate
from reference_models.dmgan.errors import CheckpointError, ConfigError
from reference_models.dmgan.files import locked
from reference_models.dmgan.training.pretrain import Pretrainer, retrieval_accuracy
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import ORIGIN, read_origin
from tests.reference_models.dmgan.conftest import tiny_config
from tests.reference_models.dmgan.training.conftest import TINY, images

Make = Callable[..., Trainer]


def pretrainer(
    out: Path, *, precision: str = "float32", damsm: float = 5.0, **pretrain: object
) -> Pretrainer:
    config = tiny_config()
    config = replace(
        config,
        pretrain=replace(config.pretrain, **{"images": 8, "batch_size": 4} | pretrain),  # type: ignore[arg-type]
        train=replace(config.train, precision=precision),  # type: ignore[arg-type]
        loss=replace(config.loss, damsm=damsm),
    )
    return Pretrainer(config, images(), out, quiet=True)


@pytest.mark.parametrize(
    "change",
    [{"generator_learning_rate": 1e-6}, {"discriminator_learning_rate": 1e-6}, {"precision": "bfloat16"}],
)
def test_rates_and_precision_may_be_others_where_that_is_said(
    trainer: Make, change: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(images=4 * 2).run()
    with pytest.raises(
        CheckpointError, match=r"but this run asks for .*; add --changed to go on all the same"
    ):
        trainer(images=4 * 3, **change).resume()
    goes_on = trainer(images=4 * 3, **change)
    goes_on.quiet = False
    assert goes_on.resume(changed=True)
    ((name, value),) = change.items()
    assert f"train.{name} is {value!r} from here on, it was " in capsys.readouterr().out
    goes_on.quiet = True
    rates = [
        optimizer.param_groups[0]["lr"]
        for optimizer in (goes_on.update.generator_optimizer, goes_on.update.discriminator_optimizer)
    ]
    train = goes_on.config.train
    assert rates == [train.generator_learning_rate, train.discriminator_learning_rate]
    assert goes_on.run()


def test_other_fields_may_not(trainer: Make) -> None:
    trainer(images=4 * 2).run()
    with pytest.raises(CheckpointError, match=r"train\.ema_decay .*; choose another --out"):
        trainer(images=4 * 2, ema_decay=0.9).resume(changed=True)


def test_a_run_without_memory_goes_on_with_recomputed_activations(trainer: Make) -> None:
    trainer(images=4 * 2).run()
    assert trainer(images=4 * 3, checkpoint_activations=True).resume()


def test_pretraining_reads_the_precision_and_not_the_weights_of_other_losses(tmp_path: Path) -> None:
    pretrainer(tmp_path).run()
    assert pretrainer(tmp_path, damsm=1.0).resume()
    for change in ({"precision": "bfloat16"}, {"learning_rate": 1e-5}, {"images": 12}):
        with pytest.raises(CheckpointError, match="add --changed"):
            pretrainer(tmp_path, **change).resume()  # type: ignore[arg-type]
        assert pretrainer(tmp_path, **change).resume(changed=True)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`train\.precision` must be float32 or bfloat16 in pre-training"):
        pretrainer(tmp_path, precision="float16")


def test_a_look_at_the_accuracy_moves_nothing(tmp_path: Path) -> None:
    made = pretrainer(tmp_path)
    before = {name: value.clone() for name, value in made.encoders.image.state_dict().items()}
    rng = np.random.default_rng(0)
    batch = collate([images().item(index, rng, train=True) for index in range(4)], sizes=(32,))
    retrieval_accuracy(made.encoders, batch)
    assert all(torch.equal(value, before[name]) for name, value in made.encoders.image.state_dict().items())
    assert made.encoders.image.training
    assert made.encoders.text.training


def test_the_checkpoint_of_another_command_is_refused(trainer: Make, tmp_path: Path) -> None:
    pretrainer(tmp_path / "run").run()
    with pytest.raises(CheckpointError, match="is no checkpoint of `train`: it holds no 'generator'"):
        trainer().resume()
    trainer("other", images=4).run()
    with pytest.raises(CheckpointError, match="is no checkpoint of `pretrain`: it holds no 'text'"):
        pretrainer(tmp_path / "other").resume()


def test_two_runs_do_not_share_a_folder(encoders_folder: Path, tmp_path: Path) -> None:
    arguments = [*TINY, "--encoders", str(encoders_folder), "--out", str(tmp_path), "--train.images", "4"]
    with locked(tmp_path / ".lock") as mine:
        assert mine
        with pytest.raises(ConfigError, match=f"another process trains in {tmp_path}: wait"):
            main(arguments)
    assert main(arguments) == 0


def test_a_run_with_fresh_networks_does_not_say_that_it_began_with_others(
    encoders_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / ORIGIN).write_text(json.dumps({"folder": "of a run that was killed before it saved"}))
    arguments = [*TINY, "--encoders", str(encoders_folder), "--out", str(tmp_path), "--train.images", "4"]
    assert main(arguments) == 0
    assert read_origin(tmp_path) is None


def test_float16_steps_that_overflow_are_counted_and_move_nothing(trainer: Make) -> None:
    made = trainer(images=4 * 2, precision="float16")
    if not made.update.scaler.is_enabled():
        pytest.skip("no loss scaler on this device")
    for parameter in made.networks.generator.parameters():
        parameter.register_hook(lambda gradient: gradient * float("inf"))
    before = made.networks.average.step
    scale = made.update.scaler.get_scale()
    made.run()
    assert made.guards.skipped == 2
    assert made.networks.average.step == before
    assert made.update.scaler.get_scale() < scale
