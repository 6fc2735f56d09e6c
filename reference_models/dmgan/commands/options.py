"""What several commands share: a named configuration whose every field can be changed on the command line."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from reference_models.dmgan.config import CONFIGS, Config, named
from reference_models.dmgan.config_checks import unchecked
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.files import locked


def split_config(argv: Sequence[str], parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Config]:
    """Parse ``--config NAME`` and the parser's own options; what is left changes the configuration.

    ``--train.batch-size 16`` sets ``config.train.batch_size``; an unknown field is refused by name.

    Raises:
        ConfigError: a configuration that cannot be run.
    """
    import tyro

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = fields_help()
    parser.add_argument("--config", default="birds_demo", choices=sorted(CONFIGS), help="which configuration")
    options, rest = parser.parse_known_args(list(argv))
    with unchecked():
        config = tyro.cli(Config, default=named(options.config), args=rest, prog=parser.prog)
    config.check()
    return options, config


def fields_help() -> str:
    """Every field of a configuration as an option, by section."""
    lines = ["fields of the configuration, each an option (what they mean is in config.py):"]
    for section in dataclasses.fields(Config):
        held = getattr(named("birds_demo"), section.name)
        if dataclasses.is_dataclass(held):
            prefix = f"--{section.name.replace('_', '-')}."
            names = ", ".join(prefix + field.name.replace("_", "-") for field in dataclasses.fields(held))
            lines += textwrap.wrap(
                names, 110, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
            )
    return "\n".join(lines)


def set_threads(threads: int | None) -> None:
    """Limit torch to ``threads`` CPU threads; None leaves torch's choice."""
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"`--threads` must be at least 1, got {threads}")
        import torch

        torch.set_num_threads(threads)


def check_minutes(minutes: float | None) -> None:
    """Refuse what is no length of time: NaN would never be over, less than nothing is over at once."""
    if minutes is not None and not minutes >= 0:
        raise ConfigError(f"`--minutes` must be at least 0, got {minutes}")


def claim(out: Path, held: ExitStack, *, first: bool, resume: bool) -> None:
    """A run's folder for this run: no other process has it until ``held`` ends, and no earlier run is overwritten.

    ``first``: whether this is the one of the run's processes that holds it.

    Raises:
        ConfigError: another process holds it, or it has checkpoints and is not resumed.
    """
    from reference_models.dmgan.training.checkpoint import checkpoints

    if first and not held.enter_context(locked(out / ".lock")):
        raise ConfigError(f"another process trains in {out}: wait for its end, or choose another --out")
    if checkpoints(out / "checkpoints") and not resume:
        raise ConfigError(f"{out} holds a run already: add --resume to go on, or choose another --out")


def refuse_folder(out: Path | None) -> None:
    """A file cannot be written over a folder: told before the work that would be lost."""
    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file")


def say(text: str) -> None:
    """One line on stdout, at once: what a long command is at."""
    print(text, flush=True)


def warn(text: str) -> None:
    """One line on stderr: not the command's result, and not an error either."""
    print(f"note: {text}", file=sys.stderr, flush=True)
