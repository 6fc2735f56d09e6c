"""``pretrain``: train the text and image encoders (DAMSM)."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from reference_models.dmgan.commands.options import claim, set_threads, split_config
from reference_models.dmgan.errors import ConfigError


def main(argv: list[str]) -> int:
    """Parse ``argv``, train, write the encoders to ``--out``."""
    parser = argparse.ArgumentParser(prog="pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for encoders, vocabulary and log")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    parser.add_argument(
        "--changed",
        action="store_true",
        help="with --resume: go on with another learning rate, precision or length",
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options, config = split_config(argv, parser)
    if config.image_encoder.kind == "inception" and not config.image_encoder.weights:
        raise ConfigError(
            "`--image-encoder.weights FILE` must be Inception-v3's published weights: pre-training leaves its trunk as "
            "it is, and without them it would be random (docs/released.md says where they come from)"
        )
    set_threads(options.threads)
    from reference_models.dmgan.data.batch import CaptionedImages
    from reference_models.dmgan.data.open import open_dataset
    from reference_models.dmgan.training.distributed import agree, join, leave, together
    from reference_models.dmgan.training.facts import run_facts
    from reference_models.dmgan.training.pretrain import Pretrainer, pretrain_size

    world, device = join(options.device)
    held = ExitStack()

    def prepared() -> CaptionedImages:
        claim(options.out, held, first=world.first, resume=options.resume)
        return open_dataset(config.data, "train", size=pretrain_size(config))

    def run() -> None:  # whose networks are gone when the group is left
        agree(world, run_facts(config))
        images = together(world, "the run cannot begin", prepared)
        trainer = Pretrainer(config, images, options.out, device=device, world=world)

        def resumed() -> None:
            if options.resume and not trainer.resume(changed=options.changed):
                raise ConfigError(f"--resume: there is no checkpoint in {options.out / 'checkpoints'}")

        together(world, "the run cannot go on", resumed)
        agree(world, {"step to go on from": str(trainer.step)})
        trainer.run()

    try:
        with held:
            run()
    finally:
        leave()
    return 0
