"""Swaps: the same noise, one colour word changed. Does the named part follow, and does the rest stay?

Axis letters: P pairs, A attributes, S pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from reference_models.dmgan.ablation.results import code_facts
from reference_models.dmgan.ablation.swap_captions import WordSwap, word_swaps
from reference_models.dmgan.ablation.swap_shares import Answers, control_block, goals, moved, swap_block
from reference_models.dmgan.data.birds.render import VERSION, render
from reference_models.dmgan.data.birds.scene import sample_scene
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.evaluation.drawing import draw_images
from reference_models.dmgan.evaluation.images import network_input, reduce_to
from reference_models.dmgan.evaluation.judge import SIZE, Judge
from reference_models.dmgan.evaluation.numbers import at_least, check_size
from reference_models.dmgan.evaluation.store import SHIPPED, load_network
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.sampling import load_model
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.training.weights import model_folder


def swap_scores(
    generator: Generator,
    text_encoder: nn.Module,
    vocabulary: Vocabulary,
    *,
    count: int = 500,
    seed: int = 0,
    batch: int = 50,
    networks: Path = SHIPPED,
    data_seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Draw ``count`` captions, their colour swaps and their synonym swaps, and let the judge look.

    Pair p has one noise and one conditioning noise for all three captions. ``scores`` has the colour swap, the
    control (a synonym), and what the judge says of real birds whose attribute was changed: the most that any
    generator could be credited with.
    """
    judge = load_network("judge", networks)
    pairs = word_swaps(count, seed=seed, data_seed=data_seed)

    def drawn(texts: Sequence[str]) -> np.ndarray:
        images = draw_images(generator, text_encoder, vocabulary, texts, seed=seed, batch=batch)
        say(f"drew {len(images)} images")
        return images

    before = drawn([pair.caption for pair in pairs])
    after = drawn([pair.swapped for pair in pairs])
    control = drawn([pair.control for pair in pairs])
    first = answers(before, judge)
    size = generator.config.sizes[-1]
    real = Answers(
        answers(_real(pairs, size, swapped=False), judge), answers(_real(pairs, size, swapped=True), judge)
    )
    scores = {
        "swap": {
            **swap_block(pairs, Answers(first, answers(after, judge)), seed),
            "moved": moved(before, after),
        },
        "control": {
            **control_block(pairs, Answers(first, answers(control, judge)), seed),
            "moved": moved(before, control),
        },
        "real": swap_block(pairs, real, seed),
    }
    return {
        "protocol": {
            "name": "swaps",
            "extractors": {"judge": str(judge.sha256)},
            "count": len(pairs),
            "split": "test",
            "species": len({pair.species for pair in pairs}),
            "seed": seed,
            "batch_size": batch,
            "mask_mode": generator.config.mask_mode,
            "rounding": "round",
            "data": f"embedded birds, renderer {VERSION}",
        },
        "scores": scores,
        "goals": goals(scores["swap"]),
    }


def swaps_of(
    folder: Path, *, count: int, seed: int, networks: Path = SHIPPED, **options: Any
) -> dict[str, Any]:
    """:func:`swap_scores` of a model's folder, with what the model is.

    Raises:
        ConfigError: the model is not one of the embedded birds.
    """
    at_least(1, count=count)
    at_least(0, seed=seed)
    model = load_model(folder)
    if model.config.data.layout != "birds":
        raise ConfigError(
            f"swaps need a model of the embedded birds, this one is of {model.config.data.layout!r}"
        )
    check_size(model.generator.config.sizes[-1], "the judge cannot look at them")
    result = swap_scores(
        model.generator,
        model.text_encoder,
        model.vocabulary,
        count=count,
        seed=seed,
        networks=networks,
        data_seed=model.config.data.seed,
        **options,
    )
    weights = model_folder(folder) / "generator.safetensors"
    result["model"] = f"Model {model.config.name}, generator sha256 {sha256(weights)[:16]}."
    return result | code_facts()


@torch.no_grad()
def answers(images: np.ndarray, judge: Judge, *, batch: int = 250) -> np.ndarray:
    """The judge's answers (P, A) to uint8 images (P, 64, 64, 3)."""
    parts = [
        judge.answers(network_input(images[start : start + batch])) for start in range(0, len(images), batch)
    ]
    return torch.cat(parts).numpy()


def _real(pairs: Sequence[WordSwap], size: int, *, swapped: bool) -> np.ndarray:
    """Renders of the pairs' birds (P, 64, 64, 3), the changed attribute with its old or its new value."""
    drawn = []
    for pair in pairs:
        attributes = np.array(pair.attributes)
        if swapped:
            attributes[pair.attribute] = pair.value
        drawn.append(render(sample_scene(attributes, np.random.default_rng([77, pair.image])), size))
    images = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)
    return reduce_to(images, SIZE).permute(0, 2, 3, 1).contiguous().numpy()
