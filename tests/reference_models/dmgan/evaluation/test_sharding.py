"""Processes that share an evaluation draw exactly the images that one process draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as mp

from reference_models.dmgan.config import TextConfig
from reference_models.dmgan.data.birds.dataset import birds_vocabulary
from reference_models.dmgan.evaluation.drawing import draw_images
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.distributed import World
from tests.reference_models.dmgan.conftest import tiny_config

TEXTS = ["a bird with a red crown", "this bird has blue wings", "a bird", "white legs", "a long yellow tail"]


def draw(world: World | None) -> np.ndarray:
    torch.manual_seed(0)
    config, vocabulary = tiny_config(), birds_vocabulary()
    text = TextEncoder(len(vocabulary), TextConfig(word_dim=8, embedding_dim=6)).eval()
    generator = Generator(config.generator).eval()
    with torch.no_grad():
        generator.heads[-1][0].weight.mul_(300)  # untrained images are nearly grey: all would look equal
    # Two images a batch: the last batch is short, and one rank draws more of them than the other.
    return draw_images(generator, text, vocabulary, TEXTS, seed=3, batch=2, size=32, world=world)


def on_a_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    np.save(f"{folder}/{rank}.npy", draw(World(rank, 2)))
    torch.distributed.destroy_process_group()


def test_two_processes_draw_what_one_draws(tmp_path: Path) -> None:
    alone = draw(None)
    assert len(np.unique(alone, axis=0)) == len(TEXTS)
    mp.spawn(on_a_rank, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        assert np.array_equal(np.load(tmp_path / f"{rank}.npy"), alone)
