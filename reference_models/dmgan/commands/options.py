"""What several commands share: a named configuration whose every field can be changed on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from reference_models.dmgan.config import CONFIGS, Config, named
from reference_models.dmgan.errors import ConfigError


def split_config(argv: Sequence[str], parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Config]:
    """Parse ``--config NAME`` and the parser's own options; what is left changes the configuration.

    ``--train.batch-size 16`` sets ``config.train.batch_size``; an unknown field is refused by name.
    """
    import tyro

    parser.add_argument("--config", default="birds_demo", choices=sorted(CONFIGS), help="which configuration")
    options, rest = parser.parse_known_args(list(argv))
    config = tyro.cli(Config, default=named(options.config), args=rest, prog=parser.prog)
    return options, config


def set_threads(threads: int | None) -> None:
    """Limit torch to ``threads`` CPU threads; None leaves torch's choice."""
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"`--threads` must be at least 1, got {threads}")
        import torch

        torch.set_num_threads(threads)
