"""Every figure is made by a script that runs, and shown on a page."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "figures"
PAGES = "\n".join(page.read_text() for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_figure_is_drawn_by_its_script(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.figure

    drawn: list[Path] = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, path, **_: drawn.append(Path(path)))
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    matplotlib.pyplot.close("all")
    assert drawn == [FOLDER / f"{name}.png"]
    assert drawn[0].is_file()


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.png")))
def test_a_figure_has_a_script_and_a_page(name: str) -> None:
    assert (FOLDER / name).with_suffix(".py").is_file()
    assert f"figures/{name}" in PAGES
