"""A form in a process of its own: how long it takes, what it holds, where its time goes."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.model import forms
from reference_models.dmgan.allocation import give_back_freed_memory, keep_freed_memory
from reference_models.dmgan.config import Config

# Self times: a convolution's, a transposed one's (`_convolution` itself), a 1x1 one's by matrix products.
CONVOLUTIONS = (
    "mkldnn_convolution",
    "_convolution",
    "convolution_backward",
    "conv2d",
    "cudnn",
    "xmma",
    "implicit",
)


@dataclass(frozen=True)
class Times:
    """Of one form, medians over rounds, seconds."""

    wall: float
    cpu: float  # of all threads of the process: near what an idle machine with one thread takes
    rounds: int

    @classmethod
    def of(cls, taken: list[tuple[float, float]]) -> Times:
        """From (wall, CPU) of each round."""
        return cls(median(w for w, _ in taken), median(c for _, c in taken), len(taken))


@dataclass
class Worker:
    """One form of one task, alone in a process: allocators' habits and peak memory are its own."""

    task: str
    form: forms.Form
    config: Config
    batch: int
    device: str
    threads: int
    _pool: ProcessPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=get_context("spawn"),
            initializer=_prepare,
            initargs=(self.task, self.form, self.config, self.batch, self.device, self.threads),
        )

    def first(self, limit: float | None = None) -> int | None:
        """Run once; bytes beyond what was held before, at the worst moment. None where the system does not tell.

        Raises:
            TimeoutError: it took longer than ``limit`` seconds; the process is ended.
        """
        try:
            return self._pool.submit(_first).result(limit)
        except TimeoutError:
            for process in self._pool._processes.values():
                process.kill()
            raise

    def once(self) -> tuple[float, float]:
        """Run once; wall and CPU seconds."""
        return self._pool.submit(_once).result()

    def profile(self) -> tuple[float, dict[str, float]]:
        """Run once; the share of convolutions in the time, and that of the costliest operations."""
        return self._pool.submit(_profile).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


_HELD: dict[str, Any] = {}  # of a worker's process


def _prepare(task: str, form: forms.Form, config: Config, batch: int, device: str, threads: int) -> None:
    torch.set_num_threads(threads)
    if form.keeps_memory:
        keep_freed_memory()
    _HELD["device"] = torch.device(device)
    _HELD["work"] = forms.build(task, form, config, batch, _HELD["device"])


def _first() -> int | None:
    work = _HELD["work"]
    if _HELD["device"].type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    give_back_freed_memory()  # of the preparation: it would hide as much of the peak
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")  # the high-water mark starts again from here
        before = _status_bytes(status.read_text(), "VmRSS")
        work()
        return max(0, _status_bytes(status.read_text(), "VmHWM") - before)
    except OSError:
        work()
        return None


def _status_bytes(text: str, name: str) -> int:
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def _once() -> tuple[float, float]:
    work, on_gpu = _HELD["work"], _HELD["device"].type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    if on_gpu:
        torch.cuda.synchronize()
    taken = time.perf_counter() - wall, time.process_time() - cpu
    del result  # not before the clock stopped
    return taken


def _profile() -> tuple[float, dict[str, float]]:
    on_gpu = _HELD["device"].type == "cuda"
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_gpu else [])
    with profile(activities=activities) as seen:
        _once()
    column = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    return shares({event.key: float(getattr(event, column)) for event in seen.key_averages()})


def shares(spent: dict[str, float], rows: int = 8) -> tuple[float, dict[str, float]]:
    """Times by operation → the share of convolutions, and of the ``rows`` costliest."""
    total = sum(spent.values())
    convolutions = sum(taken for name, taken in spent.items() if any(word in name for word in CONVOLUTIONS))
    largest = sorted(spent.items(), key=lambda item: -item[1])[:rows]
    return convolutions / total, {name.removeprefix("aten::"): taken / total for name, taken in largest}
