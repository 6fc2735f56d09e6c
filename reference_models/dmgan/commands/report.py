"""``report``: the page of any model's folder, from what is stored: nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from reference_models.dmgan.commands.options import refuse_folder


@dataclass(frozen=True, kw_only=True)
class Options:
    """Draw captions with a model and write report.html, with its log and its evaluation where they are given."""

    captions: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """what to draw; none: captions of held-out birds, for a model of the embedded data"""
    model: Path | None = None
    """a run's or a model's folder; default: the shipped one"""
    out: Path = Path("report.html")
    """the page"""
    result: Path | None = None
    """what `evaluate --out` wrote; default: evaluation.json in the model's folder, if it is there. A result that
    says it is of other weights is left out"""
    log: Path | None = None
    """the run's log; default: log.jsonl or training_log.jsonl in the model's folder, if it is there"""
    drawings: int = 4
    """of each caption, each with other noise"""
    seed: int = 0
    """of the noise"""
    judge: bool = True
    """let the shipped judge look at swaps (embedded birds only)"""


def main(argv: list[str]) -> int:
    """Parse ``argv`` and write the page."""
    options = tyro.cli(Options, args=argv, prog="report")
    refuse_folder(options.out)
    from reference_models.dmgan.report.from_folder import report_of
    from reference_models.dmgan.report.page import write_report
    from reference_models.dmgan.sampling import SHIPPED

    data = report_of(
        options.model or SHIPPED,
        options.captions,
        result=options.result,
        log=options.log,
        drawings=options.drawings,
        seed=options.seed,
        judge=options.judge,
        say=print,
    )
    print(f"wrote {write_report(data, options.out)}")
    return 0
