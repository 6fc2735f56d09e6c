"""A model small enough to be drawn with, and trained on, in a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from memgan import use_backend
from reference_models.dmgan.config import (
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    ImageEncoderConfig,
    TextConfig,
    TrainConfig,
)
from reference_models.dmgan.data.birds.dataset import birds_vocabulary
from reference_models.dmgan.discriminator import build_discriminators
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.image_encoder import build_image_encoder
from reference_models.dmgan.initialisation import initialise
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.weights import Encoders, save_model


def tiny_config() -> Config:
    return Config(
        name="tiny",
        data=DataConfig(images=8, workers=0),
        text=TextConfig(word_dim=8, embedding_dim=6, dropout=0.0),
        image_encoder=ImageEncoderConfig(width=4, image_size=32),
        generator=GeneratorConfig(
            channels=4,
            noise_dim=5,
            condition_dim=6,
            word_dim=8,
            first_size=16,
            refinements=1,
            residual_blocks=1,
        ),
        discriminator=DiscriminatorConfig(width=4, word_dim=8),
        train=TrainConfig(batch_size=2, precision="float32"),
    )


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config, vocabulary = tiny_config(), birds_vocabulary()
    encoders = Encoders(TextEncoder(len(vocabulary), config.text), build_image_encoder(config), vocabulary)
    generator = initialise(Generator(config.generator))
    with torch.no_grad():
        for head in generator.heads:
            head[0].weight.mul_(40)  # fresh weights draw grey: two pictures would always look alike
    save_model(folder, config, generator, encoders, initialise(build_discriminators(config)))
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pictures are kept in the test's own folder; the kernels would be built anew there, so the definition computes."""
    monkeypatch.setenv("MEMGAN_CACHE", str(tmp_path / "cache"))
    with use_backend("reference"):
        yield
