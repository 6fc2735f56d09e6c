"""The Python of the documentation runs as printed: the blocks of a page one after the other, in one namespace."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import reference_models.dmgan.released
from memgan.backends.native import build

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "reference_models/dmgan/README.md"])
NEEDS_FILES = "released.md"  # checkpoints of the authors' code


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


WITH_CODE = [page for page in PAGES if page.name != NEEDS_FILES and blocks(page)]


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # of torch's own compiler
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any("torch.compile(" in block for block in blocks(page)) and build.compiler() is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks(page):
        exec(compile(block, page.name, "exec"), namespace)


def test_code_that_needs_files_names_what_exists() -> None:
    (block,) = blocks(ROOT / "docs" / NEEDS_FILES)
    used = {
        node.attr
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "released"
    }
    assert used == {"load_generator", "load_text_encoder"}
    assert all(callable(getattr(reference_models.dmgan.released, name)) for name in used)


def test_pages_with_code_are_found() -> None:
    assert {"README.md", "data.md", "install.md", "kernels.md", "memory.md", "quickstart.md"} <= {
        page.name for page in WITH_CODE
    }
