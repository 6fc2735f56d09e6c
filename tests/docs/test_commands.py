"""Every command that a page prints exists, with the options that it is given."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from reference_models.dmgan.__main__ import COMMANDS, main
from reference_models.dmgan.config import birds_demo

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *ROOT.glob("*.md"),
    ROOT / "reference_models/dmgan/README.md",
]
PAGES = [page for page in PAGES if "_build" not in page.parts]
MODEL = "reference_models.dmgan"


def lines(page: Path) -> Iterator[list[str]]:
    """The command lines of a page's shell blocks as words, without comments."""
    for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def printed() -> list[tuple[str, list[str]]]:
    return [(page.name, words) for page in PAGES for words in lines(page)]


def of_the_model(words: list[str]) -> list[str] | None:
    """What follows ``-m reference_models.dmgan``; None: another command."""
    at = words.index(MODEL) if MODEL in words else 0
    return words[at + 1 :] if at and words[at - 1] == "-m" else None


@cache
def options(command: tuple[str, ...]) -> frozenset[str]:
    """What ``--help`` of a command names, and the fields of a configuration."""
    import contextlib
    import io

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    config = birds_demo()
    fields = {
        f"--{part.name}.{field.name.replace('_', '-')}"
        for part in dataclasses.fields(config)
        if dataclasses.is_dataclass(getattr(config, part.name))
        for field in dataclasses.fields(getattr(config, part.name))
    }
    return frozenset(re.findall(r"--[a-z][a-z0-9-]*", told.getvalue())) | fields


MODEL_LINES = [(page, rest) for page, words in printed() if (rest := of_the_model(words))]


@pytest.mark.parametrize(
    ("page", "words"), MODEL_LINES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_printed_command_of_the_model_takes_its_options(page: str, words: list[str]) -> None:
    name, *rest = words
    if name == "COMMAND":
        return
    assert name in COMMANDS
    forms = {"data", "ablate", "evaluate"}
    form = rest[:1] if name in forms and rest and not rest[0].startswith("-") else []
    known = options((name, *form))
    given = {word.split("=")[0] for word in rest if word.startswith("--")}
    assert given <= known, f"{page}: {' '.join(words)}: {given - known} are no options"


def test_other_printed_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, words in printed():
        if words[0] == "make":
            assert words[1] in targets, f"{page}: make {words[1]}"
        elif of_the_model(words) is not None:
            continue
        elif "-m" in words:
            module = words[words.index("-m") + 1]
            assert importlib.util.find_spec(module), f"{page}: {module}"
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), f"{page}: {words[1]}"


def test_the_pages_print_commands() -> None:
    assert len(MODEL_LINES) > 30
