"""A run: losses fall, it stops and goes on as if it had not, and it says what is wrong."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import CheckpointError, ConfigError, TrainingStopped
from reference_models.dmgan.sampling import load_model
from reference_models.dmgan.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from reference_models.dmgan.training.guards import FLAT, PATIENCE, Guards
from reference_models.dmgan.training.log import TrainingLog, read_log
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import load_encoders
from tests.reference_models.dmgan.training.conftest import (
    ROOT,
    TINY,
    command,
    encoders,
    images,
    run,
    small,
)

Make = Callable[..., Trainer]


def same(one: object, two: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return isinstance(two, (list, tuple)) and len(one) == len(two) and all(map(same, one, two))
    return one == two


def without_config(state: dict) -> dict:
    return {name: value for name, value in state.items() if name != "config"}


def test_a_short_run_lowers_the_losses_and_writes_a_model_that_draws(trainer: Make, tmp_path: Path) -> None:
    # The discriminators of a fresh pair learn at once; both networks' losses are those of one fixed data set.
    made = trainer(images=4 * 60, discriminator_learning_rate=1e-3)
    assert made.run()
    lines = read_log(tmp_path / "run" / "log.jsonl")
    assert len(lines) == 60
    for name in ("d16", "d32"):
        first, last = (sum(line[name] for line in part) / 10 for part in (lines[:10], lines[-10:]))
        assert last < 0.9 * first, name
    assert lines[-1]["skipped"] == 0
    assert load_model(tmp_path / "run").config.name == "tiny"


def test_the_generator_learns_what_the_encoders_ask_for(trainer: Make, tmp_path: Path) -> None:
    made = trainer(images=4 * 80, generator_learning_rate=2e-3)
    made.config = dataclasses.replace(made.config, loss=dataclasses.replace(made.config.loss, damsm=20.0))
    made.update.config = made.config
    made.run()
    lines = read_log(tmp_path / "run" / "log.jsonl")
    first, last = (sum(line["damsm"] for line in part) / 15 for part in (lines[:15], lines[-15:]))
    assert last < first


def test_two_halves_are_the_whole_bit_for_bit(trainer: Make) -> None:
    whole = trainer("whole", images=4 * 6)
    whole.run()
    first = trainer("halves", images=4 * 3)
    first.run()
    second = trainer("halves", images=4 * 6)
    torch.manual_seed(999)  # whatever the new process did before it resumes
    assert second.resume()
    assert second.step == 3
    second.run()
    assert same(without_config(whole.state()), without_config(second.state()))


def test_a_killed_run_goes_on_to_the_same_end(encoders_folder: Path, tmp_path: Path) -> None:
    options = [
        "train",
        *TINY,
        "--encoders",
        encoders_folder,
        "--train.checkpoint-every",
        "2",
        "--train.images",
        "80",
    ]
    assert run(*options, "--out", tmp_path / "whole").returncode == 0
    out = tmp_path / "killed"
    process = subprocess.Popen(
        command(*options, "--out", out),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 100
    while not checkpoints(out / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stopped_at = checkpoints(out / "checkpoints")[-1]
    assert int(stopped_at.name[5:13]) < 20, "killed too late to show anything"
    assert run(*options, "--out", out, "--resume").returncode == 0
    ends = [load_checkpoint(checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("whole", "killed")]
    assert ends[0]["step"] == 20
    assert same(*ends)
    logs = [
        {line["step"]: line["g"] for line in read_log(tmp_path / name / "log.jsonl")}
        for name in ("whole", "killed")
    ]
    assert logs[0] == logs[1], "the losses too"


def test_sigterm_saves_and_says_how_to_go_on(encoders_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["train", *TINY, "--encoders", encoders_folder, "--out", out, "--train.images", "400000"]
    process = subprocess.Popen(
        command(*options),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not (out / "log.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.terminate()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "saved" in told
    assert "--resume goes on" in told
    assert len(checkpoints(out / "checkpoints")) == 1


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(images=4 * 4, checkpoint_every=2).run()
    found = checkpoints(tmp_path / "run" / "checkpoints")
    assert [path.name[:13] for path in found] == ["step_00000002", "step_00000004"]
    content = bytearray(found[1].read_bytes())
    content[len(content) // 2] ^= 1
    found[1].write_bytes(content)
    again = trainer(images=4 * 4)
    assert again.resume()
    assert again.step == 2
    assert f"{found[1]} is damaged: its sha256 begins" in caplog.text
    found[0].write_bytes(found[0].read_bytes()[:100])
    with pytest.raises(CheckpointError, match="all 2 checkpoints in .* are damaged"):
        trainer(images=4 * 4).resume()


def test_the_last_checkpoints_are_kept(trainer: Make, tmp_path: Path) -> None:
    trainer(images=4 * 6, checkpoint_every=1, keep_checkpoints=2).run()
    names = [path.name[5:13] for path in checkpoints(tmp_path / "run" / "checkpoints")]
    assert names == ["00000005", "00000006"]


def test_another_configuration_is_refused_by_field(trainer: Make) -> None:
    trainer(images=4 * 2).run()
    with pytest.raises(CheckpointError, match=r"train\.ema_decay = 0\.999, but this run asks for 0\.9"):
        trainer(images=4 * 2, ema_decay=0.9).resume()
    assert trainer(images=4 * 9, checkpoint_every=7).resume(), "these change no number"


def test_commands_refuse_to_overwrite_and_to_resume_from_nothing(
    trainer: Make, encoders_folder: Path, tmp_path: Path
) -> None:
    trainer(images=4 * 2).run()
    options = ["train", *TINY, "--encoders", encoders_folder]
    done = run(*options, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "holds a run already: add --resume" in done.stderr
    done = run(*options, "--out", tmp_path / "empty", "--resume")
    assert done.returncode == 2
    assert "--resume: there is no checkpoint in" in done.stderr


def test_losses_that_are_not_finite_are_skipped_then_stop_the_run(
    trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(images=4 * 60)
    before = [parameter.clone() for parameter in made.networks.generator.parameters()]
    with torch.no_grad():
        made.networks.encoders.image.requires_grad_(False)
        for parameter in made.networks.encoders.image.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(
        TrainingStopped,
        match=rf"step {PATIENCE}: the last {PATIENCE} steps gave .*damsm.*lower learning rate",
    ):
        made.run()
    assert made.guards.skipped == PATIENCE
    after = list(made.networks.generator.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after)), "a step with NaN changed the weights"


@pytest.mark.parametrize("which", ["generator", "discriminators"])
def test_gradients_that_are_not_finite_are_counted_too(trainer: Make, which: str) -> None:
    """Every loss may be finite where a gradient is not."""
    made = trainer(images=4 * 60)
    for parameter in getattr(made.networks, which).parameters():
        parameter.register_hook(lambda gradient: gradient * float("nan"))
    before = [parameter.clone() for parameter in getattr(made.networks, which).parameters()]
    with pytest.raises(TrainingStopped, match=rf"step {PATIENCE}: .*not finite \(gradient of the {which}\)"):
        made.run()
    assert made.guards.skipped == PATIENCE
    assert all(torch.equal(a, b) for a, b in zip(before, getattr(made.networks, which).parameters()))


def test_a_collapsed_generator_stops_the_run() -> None:
    guards = Guards()
    reals, alike = torch.rand(8, 3, 4, 4), torch.rand(1, 3, 4, 4).expand(8, 3, 4, 4)
    for step in range(PATIENCE - 1):
        assert guards.collapse(step, alike, reals) < FLAT
    with pytest.raises(TrainingStopped, match="the generator has collapsed: its images differ 0.0000 times"):
        guards.collapse(PATIENCE, alike, reals)
    fresh = Guards()
    for step in range(3 * PATIENCE):
        fresh.collapse(step, alike if step % PATIENCE else torch.rand(8, 3, 4, 4), reals)


def test_a_half_written_line_is_neither_read_nor_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for torn in (False, True):
        log = TrainingLog(path, 10, what="test", quiet=True)
        log.write(1 + torn, {"loss": 0.5})
        log.close()
        if not torn:
            with open(path, "a") as file:
                file.write('{"images": 99, "lo')
    assert [line["images"] for line in read_log(path)] == [1, 2]


def test_the_step_uses_a_folded_image_encoder_and_the_run_keeps_the_whole_one(trainer: Make) -> None:
    made = trainer(images=4)
    whole, folded = made.encoders.image, made.networks.encoders.image
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in whole.modules())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    images = torch.rand(2, 3, 32, 32)
    for one, other in zip(whole(images), folded(images), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    made.run()
    again = load_encoders(made.out / "export", made.config)
    assert same(again.image.state_dict(), whole.state_dict())


def test_recomputed_activations_change_no_loss(trainer: Make) -> None:
    logs = []
    for spare in (False, True):
        made = trainer(f"spared {spare}", images=8, checkpoint_activations=spare)
        made.run()
        logs.append(read_log(made.out / "log.jsonl"))
    for one, two in zip(*logs):  # Adam turns a rounding into a step: after the first, only nearly
        assert two["g"] == pytest.approx(one["g"], rel=1e-5 if one["step"] == 1 else 1e-2)


def test_synchronised_batchnorm_needs_gpus(trainer: Make) -> None:
    with pytest.raises(ConfigError, match=r"`train\.sync_batchnorm` needs GPUs"):
        trainer(sync_batchnorm=True)


def test_data_whose_words_are_others_than_the_encoders_are_refused(tmp_path: Path) -> None:
    config, data = small(), images()
    known = encoders(config)
    words = list(known.vocabulary.words)
    words[3], words[4] = words[4], words[3]
    told = f"word 3 is {data.vocabulary.words[3]!r} in the data and {words[3]!r} to them"
    with pytest.raises(ConfigError, match=told):
        Trainer(config, data, dataclasses.replace(known, vocabulary=Vocabulary(words)), tmp_path, quiet=True)
    fewer = dataclasses.replace(known, vocabulary=Vocabulary(known.vocabulary.words[:-1]))
    with pytest.raises(ConfigError, match="in the data and none to them"):
        Trainer(config, data, fewer, tmp_path, quiet=True)


def test_a_run_goes_on_with_its_own_encoders_only(trainer: Make, tmp_path: Path) -> None:
    made = trainer(images=4)
    made.run()
    config = small(images=8)
    others = encoders(config)
    with torch.no_grad():
        next(others.text.parameters()).add_(1e-3)
    again = Trainer(config, images(), others, tmp_path / "run", quiet=True)
    with pytest.raises(CheckpointError, match="was made with other encoders"):
        again.resume()
    path = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    state = load_checkpoint(path)
    del state["encoders"]  # as it was before encoders were told
    path.unlink()
    save_checkpoint(path.parent, state["step"], state)
    assert again.resume()


def test_steps_behind_the_last_checkpoint_are_logged_once(trainer: Make, tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.jsonl"
    trainer(images=4 * 3).run()
    before = path.read_bytes()
    with open(path, "a") as file:  # of a process that was killed after its checkpoint
        file.write('{"images": 16, "step": 4}\n{"images": 20, "st')
    again = trainer(images=4 * 5)
    assert again.resume()
    again.run()
    assert [line["images"] for line in read_log(path)] == [4, 8, 12, 16, 20]
    assert path.read_bytes().startswith(before)
