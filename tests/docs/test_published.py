"""Numbers on a page are those of the stored results: nobody types them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.memory import publish as memory
from benchmarks.memory import publish_cuda as cuda
from benchmarks.scaling import publish as scaling
from reference_models.dmgan.ablation import publish as ablation

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.mark.parametrize(
    ("publish", "page", "command"),
    [
        (memory.publish, memory.PAGE, "python -m benchmarks.memory.publish"),
        (cuda.publish, cuda.PAGE, "python -m benchmarks.memory.publish_cuda"),
        (scaling.publish, scaling.PAGE, "python -m benchmarks.scaling.publish"),
    ],
    ids=["kernels_measured.md", "kernels_cuda.md", "scaling.md"],
)
def test_a_page_holds_the_stored_numbers(
    publish: Callable[[Path, Path], None], page: Path, command: str, tmp_path: Path
) -> None:
    again = shutil.copy(page, tmp_path / page.name)
    publish(RESULTS, again)
    assert again.read_text() == page.read_text(), f"run `{command}`"


def test_the_ablation_page_holds_the_stored_results_and_the_costs_of_the_networks(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "results")
    again = shutil.copy(ROOT / "docs" / "ablation.md", tmp_path)
    ablation.publish(tmp_path)
    assert Path(again).read_text() == (ROOT / "docs" / "ablation.md").read_text(), (
        "run `python -m reference_models.dmgan ablate table`"
    )


def test_a_goal_that_is_missed_is_told_as_missed() -> None:
    case, goal = {"name": "64*64"}, memory.GOALS[0]
    good = {
        "case": case, "mode": goal.mode, "provider": goal.provider, goal.column: goal.bound, "machine": "A(R) B",
    }  # fmt: skip
    bad = good | {goal.column: goal.bound - 0.1, "malloc": {"MALLOC_MMAP_MAX_": "0"}}
    table = memory.goals_table([[bad], [good], [good | {"instruction set": "avx2"}]])
    assert table.splitlines()[0].endswith("| asked | A B / freed memory kept | A B, AVX2 |")
    assert table.endswith("| ≥\u00a09 | 9.0 / **8.9** | 9.0 |")


def test_percents_of_a_gpu_are_of_the_stored_floor_and_bold_where_they_miss() -> None:
    row = {
        "case": {"name": "64*64", "dtype": "bfloat16"}, "mode": "backward", "provider": cuda.OURS,
        "median_ms": 0.1, "percent_of_floor": 50.0,
    }  # fmt: skip
    facts = {"gpu": "G", "time": "2026-01-01", "commit": "a"}
    builds = [{"us": {"64*64, bfloat16, backward": us}, **facts} for us in (100.0, 80.0)]
    assert "| 100 | 80 | **62 %** | 70 % |" in cuda.builds_table([row], builds)[1]
    builds[1]["us"] = {"64*64, bfloat16, backward": 50.0}
    assert "| 100 | 50 | 100 % | 70 % |" in cuda.builds_table([row], builds)[1]
