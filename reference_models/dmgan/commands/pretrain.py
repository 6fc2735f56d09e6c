"""``pretrain``: train the text and image encoders (DAMSM)."""

from __future__ import annotations

import argparse
from pathlib import Path

from reference_models.dmgan.commands.options import set_threads, split_config


def main(argv: list[str]) -> int:
    """Parse ``argv``, train, write the encoders to ``--out``."""
    parser = argparse.ArgumentParser(prog="pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for encoders, vocabulary and log")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options, config = split_config(argv, parser)
    set_threads(options.threads)
    from reference_models.dmgan.data.open import open_dataset
    from reference_models.dmgan.training.pretrain import pretrain

    size = config.image_encoder.image_size if config.image_encoder.kind == "small" else 304
    pretrain(config, open_dataset(config.data, "train", size=size), options.out, device=options.device)
    return 0
