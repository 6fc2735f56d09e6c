"""Results of runs as JSON lines: written whole, with the code they were made by."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.protocol import differences
from reference_models.dmgan.files import locked, write_atomically

NAME = "results.jsonl"


def code_facts(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Which code, when, on what."""
    commit, changed = commit_of(Path(__file__).parent)
    kind = torch.device(device).type
    return {
        "commit": commit,
        "changed": changed,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name()
        if kind == "cuda"
        else f"{kind}, {torch.get_num_threads()} threads",
    }


def commit_of(folder: Path) -> tuple[str, bool | None]:
    """The checkout's commit, and whether tracked files differ from it; ("unknown", None) outside of a checkout."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", None


def collect(out: Path) -> Path:
    """Write ``results.jsonl`` anew from every run's own result, ordered by seed and run."""
    path = out / NAME
    with locked(out / ".lock", wait=True):  # or a process that looked earlier could write later
        found = [json.loads(result.read_text()) for result in out.glob("seed*/*/result.json")]
        lines = sorted(found, key=lambda line: (line["seed"], line["run"]))
        with write_atomically(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file.

    Raises:
        FileNotFoundError: there is none.
        DataError: a line is damaged, a run is there twice, or two were made or measured in different ways.
    """
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; `ablate run` writes it")
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            lines.append(json.loads(text))
            key_of(lines[-1])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not a result of `ablate run` ({error})") from None
    for index, line in enumerate(lines):
        if key_of(line) in map(key_of, lines[:index]):
            raise DataError(f"{path}: seed {line['seed']}, {line['run']} is there twice")
        if line["plan"] != lines[0]["plan"]:
            raise DataError(f"{path}: plans {lines[0]['plan']} and {line['plan']} cannot be compared")
        if found := differences(lines[0]["evaluation"], line["evaluation"]):
            raise DataError(f"{path}: the runs were measured in different ways: {'; '.join(found)}")
    return lines


def key_of(line: dict[str, Any]) -> tuple[int, str]:
    """Seed and run of a result."""
    return line["seed"], line["run"]


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
