"""Every environment variable of ours is on one page, and the page names none that nobody reads."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"\bMEMGAN_[A-Z_]+\b")
SUFFIXES = {".py", ".cpp", ".h", ".cu", ".cuh", ".sh", ".toml", ".yml"}


def named_in_the_source() -> set[str]:
    files = [ROOT / "Makefile", ROOT / "setup.py", ROOT / ".ci" / "run", ROOT / "tests" / "conftest.py"]
    for folder in ("memgan", "reference_models", "benchmarks", "tests/backends", ".github"):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    text = "\n".join(path.read_text() for path in files if path.is_file())
    macros = set(re.findall(r"#\s*(?:define|ifdef|ifndef)\s+(MEMGAN_[A-Z_]+)", text))
    macros |= set(re.findall(r"-D(MEMGAN_[A-Z_]+)", text))
    return set(NAME.findall(text)) - macros


def test_every_environment_variable_is_on_its_page() -> None:
    page = set(NAME.findall((ROOT / "docs" / "environment.md").read_text()))
    source = named_in_the_source()
    assert {"MEMGAN_BACKEND", "MEMGAN_CPU_CAPABILITY"} <= source  # the search itself finds Python's and C++'s
    assert page == source
