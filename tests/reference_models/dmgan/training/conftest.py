"""A run small enough for a test, in this process or as a command."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reference_models.dmgan.config import Config
from reference_models.dmgan.data.birds.dataset import Birds, birds_vocabulary
from reference_models.dmgan.image_encoder import build_image_encoder
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import Encoders, save_encoders
from tests.reference_models.dmgan.conftest import tiny_config

ROOT = Path(__file__).parents[4]
# The same configuration for the command line.
TINY = shlex.split("""--data.images 24 --data.workers 0 --text.word-dim 8 --text.embedding-dim 6 --text.dropout 0
--image-encoder.width 4 --image-encoder.image-size 32 --generator.channels 4 --generator.noise-dim 5
--generator.condition-dim 6 --generator.word-dim 8 --generator.first-size 16 --generator.refinements 1
--discriminator.width 4 --discriminator.word-dim 8 --discriminator.spectral-norm --loss.gradient-penalty 0
--train.precision float32 --train.batch-size 4
--pretrain.batch-size 4 --train.log-every 1 --train.sample-every 1000""")


def small(**train: object) -> Config:
    config = tiny_config()
    settings = {"batch_size": 4, "log_every": 1, "sample_every": 1000, "checkpoint_every": 1000} | train
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, images=24),
        train=dataclasses.replace(config.train, **settings),  # type: ignore[arg-type]
    )


def images() -> Birds:
    return Birds("train", images=24, size=32, cached=False)


def encoders(config: Config) -> Encoders:
    torch.manual_seed(7)
    vocabulary = birds_vocabulary()
    return Encoders(TextEncoder(len(vocabulary), config.text), build_image_encoder(config), vocabulary)


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    def make(name: str = "run", **train: object) -> Trainer:
        config = small(**train)
        return Trainer(config, images(), encoders(config), tmp_path / name, quiet=True)

    return make


@pytest.fixture(scope="session")
def encoders_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    config = small()
    save_encoders(folder, encoders(config), config)
    return folder


PROGRAM = ("-m", "reference_models.dmgan")


def command(*arguments: object, processes: int = 1, program: tuple[str, ...] = PROGRAM) -> list[str]:
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [*start, *program, *map(str, arguments)]


def run(
    *arguments: object,
    processes: int = 1,
    program: tuple[str, ...] = PROGRAM,
    seconds: float = 120,
    **environment: str,
) -> subprocess.CompletedProcess:
    # Many rendezvous on one machine: each on a port of its own.
    return subprocess.run(
        command(*arguments, processes=processes, program=program),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
