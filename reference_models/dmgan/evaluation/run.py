"""``evaluate --run`` and ``--model``: a checkpoint in, one result out, under the embedded protocols.

``embedded`` scores held-out species with everything and ends in the gate. ``selection`` is for choosing λ2
or a checkpoint: validation species, no judge, no attribute scores; it gives one number, the lower the
better.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from reference_models.dmgan.data.birds.attributes import NAMES
from reference_models.dmgan.data.birds.render import VERSION
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.answers import right_answers
from reference_models.dmgan.evaluation.birds import captions_of, real_images, reference_path
from reference_models.dmgan.evaluation.drawing import draw_images
from reference_models.dmgan.evaluation.embedded import (
    DISTRACTORS,
    SPLITS,
    Captions,
    Looks,
    Networks,
    look,
    scene_features,
    score,
)
from reference_models.dmgan.evaluation.gate import gate
from reference_models.dmgan.evaluation.judge import SIZE
from reference_models.dmgan.evaluation.numbers import check_size
from reference_models.dmgan.evaluation.protocol import Protocol
from reference_models.dmgan.evaluation.reference import Reference
from reference_models.dmgan.evaluation.store import SHIPPED, load_network
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.training.distributed import World

MINIMUM = 5  # images: every score of a result can be computed
SPLIT_OF = {"embedded": "test", "selection": "validation"}


def load_networks(folder: Path = SHIPPED, *, judge: bool = True) -> Networks:
    """The shipped evaluation networks; ``judge=False`` where a checkpoint is being chosen."""
    return Networks(
        scene=load_network("scene", folder),
        retrieval=load_network("retrieval", folder),
        judge=load_network("judge", folder) if judge else None,
    )


def load_tools(protocol: str, folder: Path = SHIPPED) -> tuple[Networks, Reference]:
    """What a protocol scores with: the evaluation networks, and the reference of its split."""
    networks = load_networks(folder, judge=protocol == "embedded")
    path = reference_path(SPLIT_OF[protocol], folder)
    return networks, Reference.load(path, scene_sha256=str(networks.scene.sha256))


@dataclass(frozen=True)
class Truth:
    """What the images of a protocol are scored against: the same for every model of one size."""

    protocol: str
    real_size: int
    networks: Networks
    reference: Reference
    captions: Captions
    real: Looks  # of birds of the captions
    answers: (
        tuple[Tensor, Tensor] | None
    )  # features of two series of right answers; None: not part of the protocol


def look_at_truth(
    count: int,
    *,
    protocol: str = "embedded",
    real_size: int = SIZE,
    folder: Path = SHIPPED,
    workers: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Truth:
    """Draw the real birds of the first ``count`` captions of the protocol's split, and look at them.

    Args:
        count: images that are to be scored.
        protocol: ``embedded`` or ``selection``.
        real_size: pixels that real images are drawn at before they are reduced to 64, as generated ones are.
        folder: of the evaluation networks and references.
        workers: processes that draw real images when they are not cached.
    """
    split = SPLIT_OF[protocol]
    networks, reference = load_tools(protocol, folder)
    say("real images")
    real = look(real_images(split, count, size=real_size, workers=workers), networks)
    answers = None
    if protocol == "embedded":
        say("right answers")
        first, second = (
            right_answers(split, count, series, size=real_size, workers=workers) for series in (0, 1)
        )
        answers = scene_features(first, networks.scene), scene_features(second, networks.scene)
    return Truth(protocol, real_size, networks, reference, captions_of(split, count), real, answers)


def evaluate_images(
    fake: np.ndarray,
    truth: Truth,
    *,
    seed: int = 0,
    changes: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Score images (I, 64, 64, 3) uint8 of the truth's captions, in their order.

    Args:
        fake: generated images.
        truth: what they are scored against.
        seed: of distractors, KID's subsets, the floor's pairing and the bootstrap.
        changes: fields of the protocol that only the caller knows (mask mode, EMA, rounding).
    """
    networks, answers = truth.networks, truth.answers
    scores = score(
        fake,
        truth.real,
        truth.captions,
        networks,
        truth.reference,
        names=NAMES,
        answers=answers,
        seed=seed,
        say=say,
    )
    described = Protocol(
        name=truth.protocol,
        extractors={
            name: str(network.sha256)
            for name, network in vars(networks).items()
            if isinstance(network, nn.Module)
        },
        extractor="memgan birds evaluation networks",
        resize=f"8-bit at {truth.real_size}, area average to {SIZE}, 8-bit",
        normalisation="[-1, 1]",
        count=len(fake),
        reference_count=int(truth.reference.facts["count"]),
        reference_seed=int(truth.reference.facts["data_seed"]),
        split=SPLIT_OF[truth.protocol],
        seed=seed,
        distractors=DISTRACTORS,
        splits=min(SPLITS, len(fake)),
        data=f"embedded birds, renderer {VERSION}",
        answers=len(fake) if answers else 0,
        **(changes or {}),
    )
    result: dict[str, Any] = {"protocol": described.to_dict(), "scores": scores}
    if truth.protocol == "embedded":
        result["gate"] = gate(result).to_dict()
    else:
        result["selection_score"] = selection_score(scores)
    return result


def selection_score(scores: dict[str, Any]) -> float:
    """One number to choose a checkpoint by, lower is better, from validation species and without the judge.

    FID over the FID of real images, times the factor by which R-precision is worse than real images'. A model
    that ignores its captions and one that draws mush for the right caption both lose.
    """
    fid = scores["fid"]["value"] / max(scores["fid"]["real"], 1e-6)
    retrieval = scores["r_precision"]
    return float(fid * retrieval["real"] / max(retrieval["value"], retrieval["chance"]))


def evaluate_model(
    generator: Generator,
    text_encoder: nn.Module,
    vocabulary: Vocabulary,
    *,
    protocol: str = "embedded",
    count: int = 10_000,
    batch: int = 50,
    seed: int = 0,
    ema: bool = True,
    folder: Path = SHIPPED,
    workers: int = 0,
    world: World | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Draw ``count`` images of the protocol's captions and score them.

    The processes of ``world`` share the drawing; the first scores, and the others return nothing.
    """
    if count < MINIMUM:
        raise DataError(f"`count` must be at least {MINIMUM} images, got {count}")
    check_size(generator.config.sizes[-1], "write them with `sample`, and score them with --real and --fake")
    load_tools(protocol, folder)  # what is missing is told before minutes of drawing
    start = time.monotonic()
    texts = captions_of(SPLIT_OF[protocol], count).texts
    fake = draw_images(
        generator, text_encoder, vocabulary, texts, seed=seed, batch=batch, world=world, say=say
    )
    if world is not None and not world.first:
        return {}
    drawn = time.monotonic() - start
    changes = {
        "batch_size": batch,
        "mask_mode": generator.config.mask_mode,
        "rounding": "round",
        "ema": ema,
    }
    truth = look_at_truth(
        count,
        protocol=protocol,
        real_size=generator.config.sizes[-1],
        folder=folder,
        workers=workers,
        say=say,
    )
    result = evaluate_images(fake, truth, seed=seed, changes=changes, say=say)
    result["seconds"] = {
        "drawing": round(drawn, 1),
        "scoring": round(time.monotonic() - start - drawn, 1),
    }
    return result
