"""The API page has every public name, and what of a module is called."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import memgan

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_every_public_name_is_on_the_page() -> None:
    assert set(re.findall(r"^\.\. auto\w+:: (\w+)$", PAGE, re.MULTILINE)) == set(memgan.__all__)


def test_every_module_s_forward_is_on_the_page() -> None:
    shown = dict(re.findall(r"^\.\. autoclass:: (\w+)\n   :members: (.+)$", PAGE, re.MULTILINE))
    classes = {name: thing for name in memgan.__all__ if inspect.isclass(thing := getattr(memgan, name))}
    modules = {name for name, thing in classes.items() if "forward" in vars(thing)}
    assert {name for name, members in shown.items() if "forward" in members.split(", ")} == modules
