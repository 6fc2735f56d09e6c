"""Stored results → the tables and figures of docs/ablation.md.

::

    docs/results/ablation.jsonl    lines of `ablate run`
    docs/results/first_stages/     weights that arms to come need
    docs/results/swaps.json        result of `ablate swaps`
    docs/figures/ablation_*.svg
"""

from __future__ import annotations

import json
from pathlib import Path

from reference_models.dmgan.ablation.cost import costs
from reference_models.dmgan.ablation.figures import write_figures
from reference_models.dmgan.ablation.first_stages import keep_first_stages
from reference_models.dmgan.ablation.results import read_results
from reference_models.dmgan.ablation.tables import cost_table, results_block, swap_table
from reference_models.dmgan.config import birds_demo
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.pages import fill


def publish(docs: Path, out: Path | None = None) -> list[Path]:
    """Fill the page from the stored results, those of the folder ``out`` stored first; returns what was written.

    Where nothing is stored yet the page keeps what it says there, and no figure is made.
    """
    page, stored = docs / "ablation.md", docs / "results" / "ablation.jsonl"
    written = []
    if out is not None:
        lines = read_results(out)  # checked before it is stored
        with write_atomically(stored) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
        written += [stored, *keep_first_stages(lines, out, stored)]
    if stored.is_file():
        lines = read_results(stored)
        figures = write_figures(lines, docs / "figures")
        alt = ("Attribute progress of every run, by arm.", "Differences of attribute progress, by claim.")
        shown = [f"![{text}](figures/{path.name})" for text, path in zip(alt, figures)]
        fill(page, "results", "\n\n".join([results_block(lines), *shown]))
        written += figures
    fill(page, "cost", cost_table(costs(birds_demo())))
    swaps = docs / "results" / "swaps.json"
    if swaps.is_file():
        fill(page, "swaps", swap_table(_read(swaps)))
    return [*written, page]


def _read(path: Path) -> dict:
    try:
        result = json.loads(path.read_text())
        result["scores"]["swap"], result["goals"], result["protocol"]["count"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a result of `ablate swaps` ({error})") from None
    return result
