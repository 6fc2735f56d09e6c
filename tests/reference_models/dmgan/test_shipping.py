"""What ships is the run's generator with statistics of its own, in half the bytes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from reference_models.dmgan import shipping
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.sampling import generate, load_model
from reference_models.dmgan.training.weights import read_config, write_config


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
        {"step": step, "images": 2 * step, "g": 1.0} for step in (1, 2, 3, 2, 3, 4)
    ]  # resumed from step 1
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_run_becomes_a_folder_that_draws(finished: Path, tmp_path: Path) -> None:
    out = shipping.ship(finished, tmp_path / "out")
    before, after = load_model(finished), load_model(out)
    for one, two in zip(before.generator.parameters(), after.generator.parameters()):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)
    changed = [
        not torch.allclose(one.running_var, two.running_var)
        for one, two in zip(before.generator.modules(), after.generator.modules())
        if isinstance(one, _BatchNorm)
    ]
    assert all(changed), "statistics of fresh weights are not those of what flows through them"
    assert next(iter(generate(after, ["a red bird"]))).images[-1].isfinite().all()
    assert [json.loads(line)["step"] for line in (out / "training_log.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
        4,
    ]
    assert json.loads((out / "how.json").read_text())["images"] == 8
    sizes = [(folder / "generator.safetensors").stat().st_size for folder in (finished / "export", out)]
    assert sizes[1] < 0.7 * sizes[0]


def test_a_run_without_a_log_is_refused(finished: Path, tmp_path: Path) -> None:
    (finished / "log.jsonl").write_text("")
    with pytest.raises(CheckpointError, match=r"log\.jsonl holds no line"):
        shipping.ship(finished, tmp_path / "out")
