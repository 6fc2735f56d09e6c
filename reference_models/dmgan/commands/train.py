"""``train``: adversarial training of the generator and its discriminators."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from reference_models.dmgan.commands.options import check_minutes, claim, set_threads, split_config
from reference_models.dmgan.errors import ConfigError


def main(argv: list[str]) -> int:
    """Parse ``argv`` and train, from nothing or (``--resume``) from the run's newest whole checkpoint."""
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("--encoders", type=Path, help="what `pretrain` wrote; default: those of --start-from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--start-from",
        type=Path,
        help="a model's folder, whose networks the run begins with; fresh optimisers",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    parser.add_argument(
        "--changed",
        action="store_true",
        help="with --resume: go on with other learning rates or another precision",
    )
    parser.add_argument("--minutes", type=float, help="stop after this long, saved")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options, config = split_config(argv, parser)
    set_threads(options.threads)
    check_minutes(options.minutes)
    from torch.nn import ModuleList

    from reference_models.dmgan.data.batch import CaptionedImages
    from reference_models.dmgan.data.open import open_dataset
    from reference_models.dmgan.generator import Generator
    from reference_models.dmgan.training.distributed import agree, join, leave, together
    from reference_models.dmgan.training.facts import check_share, run_facts
    from reference_models.dmgan.training.train import Trainer
    from reference_models.dmgan.training.weights import (
        ORIGIN,
        Encoders,
        load_encoders,
        starting_networks,
        write_origin,
    )

    source = options.encoders or options.start_from
    if source is None:
        raise ConfigError(
            "give `--encoders DIR`, what `pretrain` wrote, or `--start-from DIR`, a model's folder"
        )
    world, device = join(options.device)
    held = ExitStack()

    def prepared() -> tuple[Encoders, CaptionedImages, tuple[Generator, ModuleList] | None]:
        check_share(config, world)
        claim(options.out, held, first=world.first, resume=options.resume)
        images = open_dataset(config.data, "train", size=config.generator.sizes[-1])
        start = None
        if options.start_from and not options.resume:
            start = starting_networks(options.start_from, config)
        if world.first and not options.resume:
            (options.out / ORIGIN).unlink(missing_ok=True)  # of a run that ended before its first checkpoint
            if options.start_from:
                write_origin(options.out, options.start_from)
        return load_encoders(source, config), images, start

    def run() -> None:  # whose networks are gone when the group is left
        agree(world, run_facts(config))
        encoders, images, start = together(world, "the run cannot begin", prepared)
        trainer = Trainer(config, images, encoders, options.out, device=device, start_from=start, world=world)

        def resumed() -> None:
            if options.resume and not trainer.resume(changed=options.changed):
                raise ConfigError(f"--resume: there is no checkpoint in {options.out / 'checkpoints'}")

        together(world, "the run cannot go on", resumed)
        agree(world, {"step to go on from": str(trainer.step)})
        trainer.run(minutes=options.minutes)

    try:
        with held:
            run()
    finally:
        leave()
    return 0
