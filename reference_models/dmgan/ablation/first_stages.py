"""First stages that travel with stored results: another kind of machine rounds otherwise.

::

    ablation.jsonl                          results; a first stage's line has the sha256 of its weights
    first_stages/seed4/config.json          of every seed that has arms to come, and of no other
    first_stages/seed4/generator.safetensors
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from reference_models.dmgan.ablation.arms import ARMS
from reference_models.dmgan.ablation.training import FIRST
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.state_file import sha256

FOLDER = "first_stages"  # beside the results
CONFIG, WEIGHTS = "config.json", "generator.safetensors"


def keep_first_stages(lines: list[dict[str, Any]], out: Path, results: Path) -> list[Path]:
    """Bring the first stages of seeds that have arms to come from ``out`` to beside ``results``; returns what is there.

    Those of complete seeds are taken away.
    """
    folder = results.with_name(FOLDER)
    kept = []
    for line in lines:
        if line["run"] != FIRST or "weights" not in line:
            continue
        seed = line["seed"]
        mine, theirs = folder / f"seed{seed}", out / f"seed{seed}" / FIRST / "export"
        if {other["run"] for other in lines if other["seed"] == seed}.issuperset(ARMS):
            shutil.rmtree(mine, ignore_errors=True)
            continue
        if not _is_of(mine, line) and _is_of(theirs, line):
            _copy(theirs, mine)
        if _is_of(mine, line):
            kept.append(mine)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return kept


def take_first_stage(line: dict[str, Any], results: Path, run: Path) -> bool:
    """Bring the first stage that ``line`` is the result of from beside ``results`` to the run's folder ``run``.

    Returns:
        Whether it was there: weights with other bytes than the line says are left where they are.
    """
    folder = results.with_name(FOLDER) / f"seed{line['seed']}"
    if not _is_of(folder, line):
        return False
    _copy(folder, run / "export")
    return True


def weights_digest(run: Path) -> str:
    """The sha256 of the first stage that the run in ``run`` made."""
    return sha256(run / "export" / WEIGHTS)


def _is_of(folder: Path, line: dict[str, Any]) -> bool:
    if not (folder / WEIGHTS).is_file() or not (folder / CONFIG).is_file():
        return False
    return sha256(folder / WEIGHTS) == line.get("weights")


def _copy(source: Path, target: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        with write_atomically(target / name) as temporary:
            shutil.copyfile(source / name, temporary)
