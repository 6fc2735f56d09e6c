"""An ablation small enough to be run whole in a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reference_models.dmgan.ablation.plan import Plan
from reference_models.dmgan.ablation.results import read_results
from reference_models.dmgan.ablation.runner import Ablation
from reference_models.dmgan.config import (
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    ImageEncoderConfig,
    TextConfig,
    TrainConfig,
)
from reference_models.dmgan.data.birds.dataset import Birds, birds_vocabulary
from reference_models.dmgan.image_encoder import build_image_encoder
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.weights import Encoders, save_encoders

STEPS = 3


def small_config() -> Config:
    """Two refinements up to the judge's 64 pixels, four channels."""
    return Config(
        name="small",
        data=DataConfig(images=8, workers=0),
        text=TextConfig(word_dim=8, embedding_dim=6, dropout=0.0),
        image_encoder=ImageEncoderConfig(width=4, image_size=32),
        generator=GeneratorConfig(
            channels=4, noise_dim=5, condition_dim=6, word_dim=8, first_size=16, residual_blocks=1
        ),
        discriminator=DiscriminatorConfig(width=4, word_dim=8),
        train=TrainConfig(batch_size=2, precision="float32", checkpoint_every=1, log_every=1),
    )


def small_plan(**changes: Any) -> Plan:
    plan = Plan(
        config=small_config(),
        encoders={"text_encoder.safetensors": "ab"},
        images=2 * STEPS,
        first_images=2,
        count=60,
        seeds=(0, 1),
        arms=("baseline", "full"),
    )
    return replace(plan, **changes)


def pixel_score(generator: nn.Module, encoders: Encoders, plan: Plan) -> dict[str, Any]:
    """A stand-in for the evaluation: numbers that depend on the weights and on nothing else."""
    total = float(sum(p.double().abs().sum() for p in generator.parameters()))
    among = {name: {"value": total} for name in ("fid", "precision", "recall")}
    scores = {"r_precision": {"value": total}, "among_answers": among}
    return {"protocol": {"count": plan.count}, "scores": {**scores, "attributes": {"progress": total}}}


def put_away(out: Path, change: Callable[[dict], dict] = dict) -> Path:
    """Another folder's results file with the lines of ``out``, ``change`` made to each."""
    path = out.parent / "kept" / "ablation.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(change(line)) + "\n" for line in read_results(out)))
    return path


@pytest.fixture(scope="session")
def encoders() -> Encoders:
    torch.manual_seed(0)
    config, vocabulary = small_config(), birds_vocabulary()
    text, image = TextEncoder(len(vocabulary), config.text), build_image_encoder(config)
    return Encoders(text.eval(), image.eval(), vocabulary)


@pytest.fixture(scope="session")
def encoders_folder(encoders: Encoders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    save_encoders(folder, encoders, small_config())
    return folder


@pytest.fixture(scope="session")
def birds() -> Birds:
    return Birds("train", images=8, cached=False)


@pytest.fixture
def ablation(birds: Birds, encoders: Encoders, tmp_path: Path) -> Callable[..., Ablation]:
    """Make an :class:`Ablation` in ``out`` (the test's own folder) with the stand-in score."""

    def make(
        plan: Plan | None = None,
        out: Path = tmp_path,
        said: list[str] | None = None,
        stored: Path | None = None,
    ) -> Ablation:
        say = [].append if said is None else said.append
        return Ablation(plan or small_plan(), out, birds, encoders, pixel_score, say=say, stored=stored)

    return make
