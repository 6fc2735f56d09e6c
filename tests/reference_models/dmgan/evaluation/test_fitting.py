"""The training loop of the evaluation networks, on pools of a few birds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_models.dmgan.data.birds.attributes import A
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.evaluation import train_judges as training
from reference_models.dmgan.evaluation.fitting import Fit, fit
from reference_models.dmgan.evaluation.pools import pool
from reference_models.dmgan.evaluation.store import load_network


def test_a_pool_depends_on_its_seed_alone_and_comes_back_from_the_cache(tmp_path: Path) -> None:
    first = pool(5, 12, erase_share=0.5, cache=tmp_path)
    cached = pool(5, 12, erase_share=0.5, cache=tmp_path)
    longer = pool(5, 20, erase_share=0.5, cache=tmp_path)
    other = pool(6, 12, erase_share=0.5, cache=tmp_path)
    np.testing.assert_array_equal(first.images, cached.images)
    np.testing.assert_array_equal(first.images, longer.images[:12])
    assert not np.array_equal(first.attributes, other.attributes)
    assert first.erased.shape == (12, A)
    assert 0 < first.erased.any(1).sum() < 12


@pytest.mark.parametrize("name", ["judge", "scene", "retrieval"])
def test_a_few_steps_reduce_the_loss(name: str, tmp_path: Path) -> None:
    renders = pool(7, 8, cache=tmp_path)
    torch.manual_seed(0)
    network, loss = training.build(name, renders)
    losses = []

    def recorded(*arguments: object) -> torch.Tensor:
        value = loss(*arguments)  # type: ignore[arg-type]
        losses.append(float(value.detach()))
        return value

    facts = fit(network, recorded, 8, Fit(steps=24, batch_size=4, learning_rate=3e-3), lambda _: None)
    assert facts["steps"] == len(losses) == 24
    assert facts["images_seen"] == 24 * 4
    assert np.mean(losses[-6:]) < 0.95 * np.mean(losses[:6])
    assert not network.training


def test_the_same_seed_trains_the_same_network_and_its_files_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMGAN_CACHE", str(tmp_path / "cache"))
    plan = training.Plan(seed=3, images=10, steps=2, batch_size=4, erase_share=0.2)
    monkeypatch.setitem(training.PLANS, "judge", plan)
    for folder in ("one", "two"):
        training.train_judges(tmp_path / folder, only=["judge"], command="typed", say=lambda _: None)
    one, two = (json.loads((tmp_path / folder / "judge.json").read_text()) for folder in ("one", "two"))
    assert one["sha256"] == two["sha256"]
    assert one["held_out"] == two["held_out"]
    assert one["command"] == "typed"
    images = torch.rand(2, 3, 64, 64)
    logits = load_network("judge", tmp_path / "one")(images)
    assert tuple(logits[0].shape) == (2, 8)
    with pytest.raises(ConfigError, match="judge, scene, retrieval, got 'jury'"):
        training.train_judges(tmp_path, only=["jury"])
