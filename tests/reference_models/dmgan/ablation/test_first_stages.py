"""First stages beside the stored results: another machine's arms refine the very same first images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference_models.dmgan.ablation.first_stages import keep_first_stages
from reference_models.dmgan.ablation.results import key_of, read_results
from reference_models.dmgan.ablation.runner import Ablation
from tests.reference_models.dmgan.ablation.conftest import put_away, small_plan

Make = Callable[..., Ablation]
PART, WHOLE = small_plan(seeds=(0,), arms=("baseline",)), small_plan(seeds=(0,))


def lines_of(runs: tuple[str, ...], weights: str) -> list[dict[str, Any]]:
    return [{"seed": 0, "run": run} | ({"weights": weights} if run == "first" else {}) for run in runs]


@pytest.fixture
def kept(ablation: Make, tmp_path: Path) -> Path:
    """A results file of one arm, its first stage beside it."""
    assert ablation(PART, out=tmp_path / "one").run()
    path = put_away(tmp_path / "one")
    assert keep_first_stages(read_results(path), tmp_path / "one", path) == [
        path.parent / "first_stages" / "seed0"
    ]
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_arms_of_another_machine_refine_the_first_stage_that_came_with_the_results(
    ablation: Make, tmp_path: Path, kept: Path
) -> None:
    said: list[str] = []
    assert ablation(WHOLE, out=tmp_path / "two", said=said, stored=kept).run()
    assert [line for line in said if "from step 0" in line] == ["seed 0, full: from step 0 of 3"]
    lines = read_results(tmp_path / "two")
    assert [key_of(line) for line in lines] == [(0, "baseline"), (0, "first"), (0, "full")]
    assert lines[:2] == read_results(kept)
    assert ablation(WHOLE, out=tmp_path / "one").run()
    assert read_results(tmp_path / "one")[2]["scores"] == lines[2]["scores"], "the pair is the same"


def test_weights_that_are_not_the_stored_ones_are_not_taken(
    ablation: Make, tmp_path: Path, kept: Path
) -> None:
    weights = kept.parent / "first_stages" / "seed0" / "generator.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    said: list[str] = []
    assert ablation(WHOLE, out=tmp_path / "two", said=said, stored=kept).run()
    assert "seed 0, first: from step 0 of 1" in said
    assert keep_first_stages(read_results(kept), tmp_path / "nowhere", kept) == []
    assert keep_first_stages(read_results(kept), tmp_path / "one", kept) == [weights.parent]
    assert weights.read_bytes() != changed, "made good from the run that has them"


def test_they_are_kept_as_long_as_the_seed_has_arms_to_come(tmp_path: Path, kept: Path) -> None:
    folder = kept.parent / "first_stages" / "seed0"
    before = files(folder)
    assert set(before) == {"config.json", "generator.safetensors"}
    digest = read_results(kept)[1]["weights"]
    some = lines_of(("first", "baseline", "memory", "write_gate", "full"), digest)
    assert keep_first_stages(some, tmp_path / "nowhere", kept) == [folder]
    assert files(folder) == before
    every = [*some, {"seed": 0, "run": "wide"}]
    assert keep_first_stages(every, tmp_path / "one", kept) == []
    assert not folder.parent.exists()
    older = [{"seed": 0, "run": "first"}]  # lines from before weights were kept
    assert keep_first_stages(older, tmp_path / "one", kept) == []
