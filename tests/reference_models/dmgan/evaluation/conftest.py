"""Sets of birds that several tests score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reference_models.dmgan.data.birds.dataset import SpeciesScenes
from reference_models.dmgan.data.birds.render import render
from reference_models.dmgan.evaluation.birds import captions_of, reference_path
from reference_models.dmgan.evaluation.embedded import Captions, Looks, Networks, look
from reference_models.dmgan.evaluation.reference import Reference
from reference_models.dmgan.evaluation.run import load_networks
from reference_models.dmgan.evaluation.store import SHIPPED

COUNT = 700


@pytest.fixture(scope="session")
def networks() -> Networks:
    return load_networks()


@pytest.fixture(scope="session")
def reference(networks: Networks) -> Reference:
    return Reference.load(reference_path("test", Path(SHIPPED)), scene_sha256=networks.scene.sha256)


@pytest.fixture(scope="session")
def captions() -> Captions:
    return captions_of("test", COUNT)


def draw(first: int) -> np.ndarray:
    """``COUNT`` pictures; number ``first + i`` shows the species of caption ``i`` (50 species in turn)."""
    scenes = SpeciesScenes("test", 0)
    return np.stack([render(scenes(first + index), 64) for index in range(COUNT)])


@pytest.fixture(scope="session")
def real(networks: Networks) -> Looks:
    """What the networks see in the captions' own pictures."""
    return look(draw(0), networks)


@pytest.fixture(scope="session")
def others() -> np.ndarray:
    """Other pictures of the captions' species: neither evaluated before nor in the reference."""
    return draw(100_000)
