"""Every error that the troubleshooting page explains is one that the source can raise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
# Sections of errors; "Nothing is raised, and yet" and the first sentence of a symptom quote nobody.
QUOTES = [
    quote.replace("\\*", "*")
    for line in PAGE.splitlines()
    if line.startswith("**") and not line.endswith(".**")
    for quote in re.findall(r"\*\*(.+?[^\\*])\*\*(?=,|$)", line)
]


def texts_of_the_source() -> str:
    """All strings of memgan and the reference model, holes of f-strings as …."""
    found = []
    for folder in ("memgan", "reference_models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                    found.append("".join(str(part) for part in parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


@pytest.fixture(scope="module")
def source() -> str:
    return texts_of_the_source()


@pytest.mark.parametrize("quote", QUOTES)
def test_an_explained_error_is_one_of_ours(quote: str, source: str) -> None:
    for piece in re.split(r"\s*…\s*|\(…\)", quote):
        piece = piece.strip(" ,()`")
        assert piece in source, f"no message holds {piece!r}"


def test_the_page_quotes_errors() -> None:
    assert len(QUOTES) > 40
