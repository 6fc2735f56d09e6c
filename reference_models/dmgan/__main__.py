"""``python -m reference_models.dmgan COMMAND``: each command is a module of ``commands``, imported lazily."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "demo": "samples, a small evaluation, a minute of training, and report.html",
    "data": "render, export, check or shard a data set",
    "pretrain": "train the text and image encoders (DAMSM)",
    "train": "train the generator and its discriminators",
    "sample": "captions in, images out",
    "evaluate": "score a checkpoint, or --real DIR --fake DIR",
    "ablate": "the arms of the memory, seed by seed",
    "report": "write report.html from a checkpoint",
    "import": "released DM-GAN or AttnGAN weights to safetensors",
}


def usage() -> str:
    """One line a command."""
    lines = [f"  {name:10s}{text}" for name, text in COMMANDS.items()]
    return "usage: python -m reference_models.dmgan COMMAND ...\n\n" + "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run one command."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    name, *rest = argv
    if name not in COMMANDS:
        print(f"unknown command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    from reference_models.dmgan.command_line import run  # torch, seconds: not for a line of usage

    module = importlib.import_module(
        f"reference_models.dmgan.commands.{name if name != 'import' else 'import_'}"
    )
    return run(name, module.main, rest)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
