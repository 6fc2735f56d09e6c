"""The shipped evaluation networks: what they know, and that they know it from the right place."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_models.dmgan.data.birds.attributes import NAMES, SIZES
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.evaluation.embedded import Captions, Looks, Networks
from reference_models.dmgan.evaluation.images import network_input
from reference_models.dmgan.evaluation.pools import draw
from reference_models.dmgan.evaluation.reference import Reference
from reference_models.dmgan.evaluation.store import SHIPPED, load_network

FRESH, COUNT = 31_337, 160  # a seed that no training used, and how many birds of it


def right_answers(networks: Networks, erase: int | None) -> np.ndarray:
    """Where the judge is right of birds without a part, (COUNT, A)."""
    drawn = [draw(FRESH, index, 64, erase=erase) for index in range(COUNT)]
    answers = networks.judge.answers(network_input(np.stack([image for image, *_ in drawn])))
    return answers.numpy() == np.stack([attributes for _, attributes, *_ in drawn])


@pytest.fixture(scope="module")
def whole(networks: Networks) -> np.ndarray:
    return right_answers(networks, None)


@pytest.mark.parametrize("attribute", range(len(NAMES)), ids=lambda index: NAMES[index].replace(" ", "_"))
def test_erasing_a_part_brings_its_attribute_to_chance(
    networks: Networks, whole: np.ndarray, attribute: int
) -> None:
    erased = right_answers(networks, attribute)
    chance = 1 / SIZES[attribute]
    tolerance = 4 * np.sqrt(chance * (1 - chance) / COUNT)
    assert whole[:, attribute].mean() > 0.9
    assert erased[:, attribute].mean() < chance + tolerance
    # The parts beside it are still there, and still seen.
    rest = [index for index in range(len(NAMES)) if index != attribute]
    assert erased[:, rest].mean() > 0.85


def test_the_judge_knows_real_birds_of_species_it_has_never_seen(real: Looks, captions: Captions) -> None:
    assert real.answers is not None
    right = (real.answers == captions.attributes).mean(0)
    assert right.mean() > 0.95, dict(zip(NAMES, right.round(3)))


def test_all_networks_together_stay_small() -> None:
    size = sum(path.stat().st_size for path in SHIPPED.glob("*"))
    assert size < 8e6


@pytest.mark.parametrize("name", ["judge", "scene", "retrieval"])
def test_each_file_says_how_it_was_made(name: str) -> None:
    facts = json.loads((SHIPPED / f"{name}.json").read_text())
    assert facts["command"].startswith("python -m reference_models.dmgan evaluate train-judges")
    assert facts["seconds"] > 0
    assert facts["held_out"]


def test_padding_and_neighbours_never_change_a_caption_code(networks: Networks) -> None:
    network = networks.retrieval
    texts = ["a bird with a red crown", "this bird has blue wings, a long yellow beak and also pink legs"]
    together = network.caption(*network.encode_texts(texts))
    alone = torch.cat([network.caption(*network.encode_texts([text])) for text in texts])
    torch.testing.assert_close(together, alone)


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path: Path, reference: Reference) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(SHIPPED / f"judge{suffix}", tmp_path)
    load_network("judge", tmp_path)
    path = tmp_path / "judge.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"judge\.safetensors: its sha256 is"):
        load_network("judge", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"scene\.safetensors.*train-judges"):
        load_network("scene", tmp_path)
    reference.save(tmp_path / "reference")
    again = Reference.load(tmp_path / "reference", scene_sha256=reference.facts["scene_sha256"])
    assert torch.equal(again.sample, reference.sample)
    assert torch.equal(again.moments.covariance(), reference.moments.covariance())
    with pytest.raises(CheckpointError, match="made with the SceneNet"):
        Reference.load(tmp_path / "reference", scene_sha256="0" * 64)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("name", ["judge", "reference_test"])
def test_a_truncated_file_is_one_sentence(
    name: str, suffix: str, tmp_path: Path, reference: Reference
) -> None:
    def load() -> None:
        if name == "judge":
            load_network(name, tmp_path)
        else:
            Reference.load(tmp_path / name, scene_sha256=reference.facts["scene_sha256"])

    for path in SHIPPED.glob(f"{name}.*"):
        shutil.copy(path, tmp_path)
    load()
    broken = (tmp_path / name).with_suffix(suffix)
    for keep in (0, 20, broken.stat().st_size // 2):
        broken.write_bytes((SHIPPED / broken.name).read_bytes()[:keep])
        with pytest.raises(CheckpointError, match=re.escape(broken.name)):
            load()
