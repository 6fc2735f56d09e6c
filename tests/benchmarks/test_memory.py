"""The kernels' benchmark: fresh pages are fresh and used ones are used."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.memory import layer, pages
from benchmarks.memory.cases import OURS, Case
from memgan.backends import native
from memgan.backends.native import loader

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="pages are arranged by glibc's variables")
def test_clone_faults_in_fresh_pages_alone() -> None:
    if (reason := native.unavailable_reason()) is not None:
        pytest.skip(f"no native kernels: {reason}")
    case = Case("1.3 MB: too small for a large page", images=5, channels=16, words=5)
    rows = pages.rows(case, seconds=0.05)
    assert [(row["mode"], row["provider"]) for row in rows] == [
        (mode, name) for mode in pages.MODES for name in (OURS, pages.CLONE)
    ]
    fresh, used = rows[1]["faults"], rows[3]["faults"]
    assert fresh > 100  # 320 pages of the result, each at its first touch
    assert used < 10


def test_the_layer_is_timed_on_its_kernels_and_on_the_definition() -> None:
    if (reason := native.unavailable_reason()) is not None:
        pytest.skip(f"no native kernels: {reason}")
    rows = layer.rows(Case("tiny", images=2, channels=8, words=5, size=8), seconds=0.02)
    assert [(row["mode"], row["provider"]) for row in rows] == [
        (mode, name) for mode in layer.MODES for name in layer.PROVIDERS
    ]
    assert all(row["median_ms"] > 0 for row in rows)
    assert [row["times_ours"] for row in rows if row["provider"] == OURS] == [1.0, 1.0]


def test_libraries_are_timed_one_after_another(tmp_path: Path) -> None:
    if (reason := native.unavailable_reason()) is not None:
        pytest.skip(f"no native kernels: {reason}")
    copies = [tmp_path / name for name in ("old.so", "new.so")]
    for copy in copies:
        copy.write_bytes(loader.STATE.path.read_bytes())  # type: ignore[union-attr]
    command = [sys.executable, "-m", "benchmarks.memory.builds", *map(str, copies), "--device", "cpu"]
    done = subprocess.run([*command, "--seconds", "0.01", "--out", str(tmp_path / "out")], cwd=ROOT)
    assert done.returncode == 0
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [row["library"] for row in rows] == ["old.so", "new.so"]
    assert all(us > 0 for row in rows for us in row["us"].values())
    assert [name.rsplit(", ")[-1] for name in rows[0]["us"]] == ["forward", "backward"]
