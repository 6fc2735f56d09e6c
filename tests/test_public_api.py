"""The public surface: names and signatures that people's code relies on. A change here is a change for them."""

from __future__ import annotations

import inspect
from pathlib import Path

import memgan

SNAPSHOT = Path(__file__).parent / "public_api.txt"


def surface() -> str:
    lines = []
    for name in sorted(memgan.__all__):
        thing = getattr(memgan, name)
        if inspect.isclass(thing) and issubclass(thing, BaseException):
            lines.append(f"{name}({', '.join(base.__name__ for base in thing.__bases__)})")
        else:
            lines.append(f"{name}{inspect.signature(thing)}")
        if inspect.isclass(thing) and "forward" in vars(thing):
            lines.append(f"    forward{inspect.signature(thing.forward)}")
    return "\n".join(lines) + "\n"


def test_the_public_surface_is_as_written_down() -> None:
    assert surface() == SNAPSHOT.read_text(), f"if this is meant, write it to {SNAPSHOT} and to the changelog"


def test_every_public_name_says_what_it_is() -> None:
    for name in memgan.__all__:
        assert inspect.getdoc(getattr(memgan, name)), name


def test_every_public_call_lists_what_it_raises() -> None:
    for name in memgan.__all__:
        thing = getattr(memgan, name)
        calls = {name: thing} if inspect.isfunction(thing) else {}
        if inspect.isclass(thing) and "forward" in vars(thing):
            methods = inspect.getmembers(thing, inspect.isfunction)
            calls = {
                f"{name}.{one}": call
                for one, call in methods
                if one in vars(thing) and one[0] != "_" and one != "extra_repr"
            }
        for where, call in calls.items():
            assert "Raises:" in (inspect.getdoc(call) or ""), where
