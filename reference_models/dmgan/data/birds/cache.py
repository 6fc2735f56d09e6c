"""Rendered pictures as one memory-mapped uint8 file; written whole or not at all, by one process of a machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from reference_models.dmgan.data.birds.render import VERSION, render
from reference_models.dmgan.data.birds.scene import Scene
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import locked, write_atomically

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
    ``workers`` processes (0: in this one), then read from ``folder``; another process that wants them waits.

    Raises:
        DataError: there is no room for them.
    """
    path = (folder or cache_dir()) / f"{name}_{count}x{size}_v{VERSION}.npy"
    shape = (count, size, size, 3)
    found = _whole(path, shape)
    if found is not None:
        return found
    with locked(path.with_name(f".{path.name}.lock"), wait=True):
        found = _whole(path, shape)  # the other has made them
        if found is not None:
            return found
        path.unlink(missing_ok=True)  # another program's file, or a damaged one: it is only a cache
        for left in path.parent.glob(f".{path.name}.*.partial"):  # by a killed process: as large as all of it
            left.unlink(missing_ok=True)
        try:
            with write_atomically(path) as temporary, open(temporary, "wb") as file:
                # Written, not mapped: where the disk is full a write is an error, and a page is the process's end.
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for chunk in _chunks(scene_of, count, size, workers):
                    file.write(chunk)
        except OSError as error:
            raise DataError(
                f"{path} cannot be written ({error.strerror or error}): {count} pictures take "
                f"{np.prod(shape) / 1e9:.1f} GB; the environment variable MEMGAN_CACHE names another folder"
            ) from error
        return np.load(path, mmap_mode="r")


def _whole(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    with suppress(ValueError, OSError):  # none, or a truncated one
        found = np.load(path, mmap_mode="r")
        if found.shape == shape and found.dtype == np.uint8:
            return found
    return None


def _chunks(scene_of: SceneOf, count: int, size: int, workers: int) -> Iterator[np.ndarray]:
    tasks = [(scene_of, start, min(start + CHUNK, count), size) for start in range(0, count, CHUNK)]
    if workers > 1 and len(tasks) > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
            yield from pool.map(_render_chunk, tasks)
    else:
        yield from map(_render_chunk, tasks)


def _render_chunk(task: tuple[SceneOf, int, int, int]) -> np.ndarray:
    scene_of, start, stop, size = task
    return np.stack([render(scene_of(index), size) for index in range(start, stop)])


def end_with_parent() -> None:
    """Let this process end where the one that started it is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
