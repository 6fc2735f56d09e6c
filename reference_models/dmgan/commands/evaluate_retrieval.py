"""``evaluate retrieval``: R-precision of a model on the captions of a data set on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from reference_models.dmgan.commands.options import refuse_folder, warn


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Draw a data set's captions and ask the model's own encoders which caption each image has, of a hundred."""

    model: Path
    """folder of a model with its image encoder, as `import` writes it, or of a run of `train`"""
    data: str
    """folder of the data set, or an address of shards"""
    split: str = "test"
    """of the data set; all images of one without splits"""
    layout: Literal["cub", "coco", "flowers", "folder", "shards"] | None = None
    """told from the files if not given"""
    count: int = 30_000
    """images to draw"""
    batch: int = 10
    """images at a time"""
    seed: int = 0
    """of captions, noise and distractors"""
    device: str = "cpu"
    """of the networks"""
    out: Path | None = None
    """JSON file of the result"""


def main(argv: list[str]) -> int:
    """Score, print both figures beside those of real images, write the result."""
    options = tyro.cli(Retrieval, args=argv, prog="evaluate retrieval")
    refuse_folder(options.out)
    from reference_models.dmgan.data.open import data_root
    from reference_models.dmgan.evaluation.caption_retrieval import score_retrieval
    from reference_models.dmgan.evaluation.protocol import write_result
    from reference_models.dmgan.training.distributed import usable_device

    result = score_retrieval(
        options.model,
        data_root(options.data),
        split=options.split,
        layout=options.layout,
        count=options.count,
        batch=options.batch,
        seed=options.seed,
        device=usable_device(options.device),
        say=lambda text: print(text, flush=True),
        warn=warn,
    )
    for name, label in (("r_precision_released", "the release's rule"), ("r_precision", "a fixed list")):
        score = result["scores"][name]
        print(
            f"R-precision by {label:18s} {score['value']:7.2%} ± {score['std']:.2%}   real {score['real']:.2%}   "
            f"chance {score['chance']:.0%}"
        )
    if options.out:
        write_result(result, options.out)
    return 0
