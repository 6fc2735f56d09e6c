"""Which state of the repository a measurement is of."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MEASURED = ("memgan", "reference_models")


def commit() -> str:
    """What ``MEMGAN_COMMIT`` says, of a copy whose history is elsewhere; else the commit, a "+" behind it where what is
    measured had changes; where there is no git, a digest of the library's sources.
    """
    if told := os.environ.get("MEMGAN_COMMIT"):
        return told
    head = _git("rev-parse", "--short", "HEAD")
    if head is not None:
        return head + ("+" if _git("status", "--porcelain", *MEASURED) else "")
    digest = hashlib.sha256()
    for path in sorted(ROOT.glob("memgan/**/*")):
        if path.suffix in (".py", ".h", ".cpp", ".cu"):
            digest.update(path.read_bytes())
    return f"sources {digest.hexdigest()[:12]}"


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
