"""A run that begins with the networks of a model's folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_models.dmgan.ablation.plan import encoder_digests
from reference_models.dmgan.commands.train import main
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import load_encoders, read_into, read_origin, starting_networks
from tests.reference_models.dmgan.training.conftest import TINY, images, small


@pytest.fixture
def finished(encoders_folder: Path, tmp_path: Path) -> Path:
    arguments = ["--encoders", str(encoders_folder), "--out", str(tmp_path / "first"), "--train.images", "8"]
    assert main([*TINY, *arguments]) == 0
    return tmp_path / "first" / "export"


def test_it_begins_with_their_weights_and_says_whose_they_are(finished: Path, tmp_path: Path) -> None:
    (finished / "how.json").write_text(json.dumps({"images": 8}))
    (finished / "training_log.jsonl").write_text(json.dumps({"step": 2, "images": 8}) + "\n")
    # No step at all would be no run; one with a rate of zero changes no weight.
    still = ["--train.images", "4", "--train.generator-learning-rate", "0"]
    out = tmp_path / "second"
    assert main([*TINY, "--start-from", str(finished), "--out", str(out), *still]) == 0
    config = small()
    before, _ = starting_networks(finished, config)
    after, _ = starting_networks(out / "export", config)
    for one, two in zip(before.parameters(), after.parameters()):
        assert torch.equal(one, two)
    origin = read_origin(out)
    assert origin is not None
    assert (origin["how"], origin["log"]) == ({"images": 8}, [{"step": 2, "images": 8}])
    assert len(origin["generator_sha256"]) == 64


def test_a_runs_folder_does_as_well_as_its_models(finished: Path, tmp_path: Path) -> None:
    run, out = finished.parent, tmp_path / "second"
    still = ["--train.images", "4", "--train.generator-learning-rate", "0"]
    assert main([*TINY, "--start-from", str(run), "--out", str(out), *still]) == 0
    origin = read_origin(out)
    assert origin is not None
    assert origin["generator_sha256"] == sha256(finished / "generator.safetensors")
    assert encoder_digests(run) == encoder_digests(finished)


@pytest.mark.parametrize("name", ["kind", "image_size"])
def test_encoders_are_read_as_they_were_trained(encoders_folder: Path, name: str) -> None:
    other = {"kind": "inception", "image_size": 64}[name]
    config = small()
    config = replace(config, image_encoder=replace(config.image_encoder, **{name: other}))  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=rf"`image_encoder\.{name}` must be .* was trained with .* got {other!r}"
    ):
        load_encoders(encoders_folder, config)


def test_networks_are_read_as_they_were_trained(finished: Path) -> None:
    config = small()
    for name, other in (("mask_mode", "release"), ("arm", "memory")):
        changed = replace(config, generator=replace(config.generator, **{name: other}))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=rf"`generator\.{name}` must be .* got {other!r}"):
            starting_networks(finished, changed)


def test_all_of_it_can_be_trained(finished: Path, tmp_path: Path) -> None:
    config = small(images=4)
    start = starting_networks(finished, config)
    before = [p.clone() for network in start for p in network.parameters()]
    trainer = Trainer(
        config, images(), load_encoders(finished, config), tmp_path / "third", start_from=start, quiet=True
    )
    trainer.run()
    after = [p for network in start for p in network.parameters()]
    assert all(not torch.equal(one, two) for one, two in zip(before, after))


def test_a_folder_for_sampling_alone_gets_fresh_discriminators(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sampling"
    shutil.copytree(finished, folder)
    (folder / "discriminators.safetensors").unlink()
    _, fresh = starting_networks(folder, small())
    _, kept = starting_networks(finished, small())
    read_into(fresh, finished / "discriminators.safetensors")  # of the same shape
    assert all(torch.equal(one, two) for one, two in zip(fresh.parameters(), kept.parameters()))


def test_without_encoders_or_a_folder_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--encoders DIR"):
        main([*TINY, "--out", str(tmp_path / "run")])


def test_discriminators_without_statistics_may_begin_a_run_with_them(finished: Path) -> None:
    config = small()
    _, before = starting_networks(finished, config)
    asked = replace(config.discriminator, minibatch_std=2)
    train = replace(config.train, batch_size=8)
    _, after = starting_networks(finished, replace(config, discriminator=asked, train=train))
    for one, two in zip(before, after):
        images, sentence = (
            torch.randn(8, 3, one.size, one.size),
            torch.randn(8, config.discriminator.word_dim),
        )
        torch.testing.assert_close(two.eval()(images, sentence), one.eval()(images, sentence))
        assert two.unconditional.in_channels == one.unconditional.in_channels + 2
