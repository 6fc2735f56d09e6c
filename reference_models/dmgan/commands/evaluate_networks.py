"""``evaluate train-judges`` and ``evaluate reference``: what scores the embedded birds, made anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from reference_models.dmgan.commands.options import check_minutes, say, set_threads

NETWORKS = Path(__file__).parents[1] / "weights" / "birds_eval"


@dataclass(frozen=True, kw_only=True)
class TrainJudges:
    """Train the evaluation networks (judge, scene, retrieval) on renders of independent attributes."""

    out: Path = NETWORKS
    """folder of the weight files"""
    only: tuple[str, ...] = ("judge", "scene", "retrieval")
    """which of them"""
    minutes: float = 0.0
    """of training for each network; 0: the fixed number of steps that the shipped ones had"""
    images: int = 0
    """renders of each network's pool; 0: as the shipped ones had"""
    threads: int = 1
    """of torch"""


@dataclass(frozen=True, kw_only=True)
class MakeReference:
    """Draw the real set and store what SceneNet sees in it; needed again after SceneNet is trained anew."""

    out: Path = NETWORKS
    """folder of SceneNet and of the references"""
    count: int = 50_000
    """images of each split's reference"""
    sample: int = 10_000
    """features that are kept for KID, precision and recall"""
    workers: int = 0
    """processes that draw"""


def train_judges(argv: list[str]) -> int:
    """``evaluate train-judges``."""
    import shlex

    from reference_models.dmgan.evaluation import train_judges as training

    options = tyro.cli(TrainJudges, args=argv[1:], prog="evaluate train-judges")
    set_threads(options.threads)
    check_minutes(options.minutes)
    training.train_judges(
        options.out,
        only=options.only,
        minutes=options.minutes,
        images=options.images,
        command=shlex.join(["python", "-m", "reference_models.dmgan", "evaluate", *argv]),
        say=say,
    )
    return 0


def make_reference(argv: list[str]) -> int:
    """``evaluate reference``."""
    from reference_models.dmgan.evaluation import birds
    from reference_models.dmgan.evaluation.store import load_network

    options = tyro.cli(MakeReference, args=argv[1:], prog="evaluate reference")
    network = load_network("scene", options.out)
    for split in birds.SPLITS:
        reference = birds.make_reference(
            split, network, count=options.count, sample=options.sample, workers=options.workers, say=say
        )
        reference.save(birds.reference_path(split, options.out))
    return 0
