"""Each recipe runs as printed, learns something in its few steps, and uses its memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    """The same sums in the same order wherever the suite runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(page: str) -> dict[str, Any]:
    blocks = re.findall(r"^```python\n(.*?)^```", (RECIPES / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), namespace)
    return namespace


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def attngan(page: dict[str, Any]) -> None:
    assert mean(page["damsm_losses"][-10:]) < 0.3 * mean(page["damsm_losses"][:5])
    assert mean(page["matching"][-10:]) < 0.5 * mean(page["matching"][:5])
    assert mean(page["distances"][-10:]) < 0.8 * mean(page["distances"][:5])
    assert page["gradient"] > 1e-3
    assert page["change"] > 0.1
    assert page["match_wrong"] > 2 * page["match_right"]
    assert page["padding"] == 0


def class_conditional(page: dict[str, Any]) -> None:
    assert page["distances"][-1] < 0.5 * page["distances"][0]
    assert page["gradient"] > 1e-4
    assert page["other_class"] > 0.1
    assert page["without_slots"] > 0.01
    assert page["reordered"] < 1e-5


def dcgan(page: dict[str, Any]) -> None:
    assert page["distances"][-1] < 0.5 * page["distances"][0]
    assert page["gradient"] > 1e-4
    assert page["skipped"] > 0.05
    assert page["busiest"] > 2 / 16
    assert 0.01 < page["taken"] < 0.99


def stylegan2(page: dict[str, Any]) -> None:
    assert page["distances"][-1] < 0.75 * page["distances"][0]
    assert page["second"] > 1e-4  # the page itself compares it with the definition's
    assert page["changed"] > 0.01
    assert page["skipped"] > 0.05


def hugging_face(page: dict[str, Any]) -> None:
    assert mean(page["pixels"][-10:]) < 0.1 * page["pixels"][0]
    assert page["gradient"] > 1e-4
    assert page["wrong"] > 5 * page["right"]
    assert page["unread"] == 0
    assert page["padding"] < 1e-5


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    f"{check.__name__}.md": check for check in (attngan, class_conditional, dcgan, stylegan2, hugging_face)
}


@pytest.mark.parametrize("page", CHECKS)
def test_a_recipe_runs_learns_and_uses_its_memory(page: str) -> None:
    torch.manual_seed(0)
    CHECKS[page](run(page))


def test_every_recipe_is_run_and_listed() -> None:
    pages = {path.name for path in RECIPES.glob("*.md")} - {"index.md"}
    assert pages == set(CHECKS)
    index = (RECIPES / "index.md").read_text()
    for page in pages:
        assert f"({page})" in index
