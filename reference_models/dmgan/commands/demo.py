"""``demo``: samples, a small evaluation, a minute of training, and one page that shows it all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from reference_models.dmgan.commands.options import check_minutes


@dataclass(frozen=True, kw_only=True)
class Options:
    """Draw captions with the shipped model, score it, train it a little further, and write report.html."""

    captions: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """what to draw; none: captions of held-out species"""
    caption: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """one more caption; may be given several times"""
    out: Path = Path("demo_out")
    """folder of samples.png, evaluation.json and report.html"""
    minutes: float = 1.0
    """of training; 0: none"""
    count: int = 1_000
    """images of the evaluation; 0: none"""
    drawings: int = 4
    """of each caption, each with other noise"""
    seed: int = 0
    """of the noise"""
    model: Path | None = None
    """a model's folder; default: the shipped one"""


def main(argv: list[str]) -> int:
    """Parse ``argv`` and run the demo."""
    began = time.monotonic()
    options = tyro.cli(Options, args=argv, prog="demo")
    check_minutes(options.minutes)
    from reference_models.dmgan.report.demonstration import WEIGHTS, Demo, demonstrate

    demonstrate(
        Demo(
            captions=(*options.captions, *options.caption),
            out=options.out,
            minutes=options.minutes,
            count=options.count,
            drawings=options.drawings,
            seed=options.seed,
            model=options.model or WEIGHTS / "birds_demo",
        ),
        lambda text: print(text, flush=True),
        began=began,
    )
    return 0
