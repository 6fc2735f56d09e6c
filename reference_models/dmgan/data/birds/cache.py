"""Rendered pictures as one memory-mapped uint8 file; written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.birds.render import VERSION, render
from reference_models.dmgan.data.birds.scene import Scene
from reference_models.dmgan.files import write_atomically

SceneOf = Callable[[int], Scene]
CHUNK = 500  # pictures a task


def cache_dir() -> Path:
    """``MEMGAN_CACHE``, or ``~/.cache/memgan``."""
    return Path(os.environ.get("MEMGAN_CACHE") or Path.home() / ".cache" / "memgan") / "birds"


def rendered(
    name: str, scene_of: SceneOf, count: int, size: int, *, folder: Path | None = None, workers: int = 0
) -> np.ndarray:
    """Pictures 0..count-1 of ``scene_of``: (count, size, size, 3) uint8, memory-mapped, read-only.

    ``name`` must say all that ``scene_of`` depends on; the renderer's version is added. Rendered once by
    ``workers`` processes (0: in this one), then read from ``folder``.
    """
    path = (folder or cache_dir()) / f"{name}_{count}x{size}_v{VERSION}.npy"
    shape = (count, size, size, 3)
    if path.exists():
        with suppress(ValueError, OSError):  # a truncated file
            found = np.load(path, mmap_mode="r")
            if found.shape == shape and found.dtype == np.uint8:
                return found
        path.unlink()  # another program's file, or a damaged one: it is only a cache
    with write_atomically(path) as temporary:
        pictures = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        tasks = [(scene_of, start, min(start + CHUNK, count), size) for start in range(0, count, CHUNK)]
        if workers > 1 and len(tasks) > 1:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                for task, chunk in zip(tasks, pool.map(_render_chunk, tasks)):
                    pictures[task[1] : task[2]] = chunk
        else:
            for task in tasks:
                pictures[task[1] : task[2]] = _render_chunk(task)
        pictures.flush()
        del pictures
    return np.load(path, mmap_mode="r")


def _render_chunk(task: tuple[SceneOf, int, int, int]) -> np.ndarray:
    scene_of, start, stop, size = task
    return np.stack([render(scene_of(index), size) for index in range(start, stop)])
