"""Rendered pictures: made by whoever comes first, written whole or not at all."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reference_models.dmgan.data.birds import cache
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.errors import DataError

COUNT, SIZE = 5, 16


def birds(folder: Path) -> Birds:
    return Birds("train", images=COUNT, size=SIZE, cache_folder=folder)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Arguments of each picture that was drawn, which is one grey one."""
    calls: list[object] = []

    def draw(scene: object, size: int) -> np.ndarray:
        calls.append(scene)
        time.sleep(0.02)
        return np.full((size, size, 3), len(calls), dtype=np.uint8)

    monkeypatch.setattr(cache, "render", draw)
    return calls


def test_two_that_want_the_same_pictures_draw_them_once(tmp_path: Path, drawn: list[object]) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(birds, [tmp_path, tmp_path])
    assert len(drawn) == COUNT
    assert all(np.array_equal(one.image(index), two.image(index)) for index in range(COUNT))


def test_a_file_takes_no_room_that_it_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def draw(scene: object, size: int) -> np.ndarray:
        sizes.extend(path.stat().st_size for path in tmp_path.glob(".*.partial"))
        return np.zeros((size, size, 3), dtype=np.uint8)

    monkeypatch.setattr(cache, "render", draw)
    monkeypatch.setattr(cache, "CHUNK", 1)
    birds(tmp_path)
    # A file as long as it will be, but empty, ends the process where the disk is full: a page cannot be had.
    assert sizes[0] < COUNT * SIZE * SIZE * 3


def test_a_full_disk_is_told_with_what_is_needed_and_leaves_nothing(
    tmp_path: Path, drawn: list[object]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot be written .*: 5 pictures take 0\.0 GB; .*MEMGAN_CACHE"):
            birds(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".npy", ".partial")]


def test_what_a_killed_process_left_goes(tmp_path: Path, drawn: list[object]) -> None:
    birds(tmp_path)
    (file,) = tmp_path.glob("*.npy")
    left, other = (tmp_path / f".{name}.4711.partial" for name in (file.name, "another.npy"))
    for path in (left, other):
        path.write_bytes(b"half")
    file.unlink()
    birds(tmp_path)
    assert other.exists()
    assert not left.exists()


PARENT = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from reference_models.dmgan.data.birds.cache import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_worker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    root = str(Path(__file__).parents[5])
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")],
        env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        told, _ = process.communicate(timeout=120)  # to the end of the output, which the worker holds too
    assert process.returncode == -9
    for _ in range(100):
        if not Path(f"/proc/{int(told)}").exists():
            return
        time.sleep(0.1)
    pytest.fail("the worker goes on")
