"""Times in turns, peak memory, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], object]
CONVOLUTIONS = (
    "mkldnn_convolution",
    "convolution_overrideable",
    "cudnn_convolution",
    "slow_conv",
    "thnn_conv",
)


@dataclass(frozen=True)
class Times:
    """Of one form, medians over rounds, seconds."""

    wall: float
    cpu: float  # of all threads of this process: with one thread, what an idle machine would take
    rounds: int


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_turns(
    forms: Mapping[str, Work], seconds: float, *, least: int = 3, most: int = 50
) -> dict[str, Times]:
    """Every form once a round, so that a busy moment of the machine falls on all alike; one round to warm up."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
    for work in forms.values():
        work()
    begun, rounds = time.perf_counter(), 0
    while rounds < least or (rounds < most and time.perf_counter() - begun < seconds):
        for name, work in forms.items():
            _synchronise()
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            _synchronise()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        rounds += 1
    return {
        name: Times(median(w for w, _ in each), median(c for _, c in each), rounds)
        for name, each in taken.items()
    }


def peak_memory(work: Work, device: torch.device) -> int | None:
    """Bytes above what was held before, at the worst moment; None where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")  # the high-water mark starts again from here
        before = _status_bytes(status.read_text(), "VmRSS")
        work()
        return max(0, _status_bytes(status.read_text(), "VmHWM") - before)
    except OSError:
        return None


def _status_bytes(text: str, field: str) -> int:
    line = next(line for line in text.splitlines() if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def where_time_goes(work: Work, device: torch.device, *, rows: int = 8) -> tuple[float, dict[str, float]]:
    """The share of time in convolutions, and of the ``rows`` costliest operations, of one run."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as seen:
        work()
    on = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    spent = {event.key: float(getattr(event, on)) for event in seen.key_averages()}
    total = sum(spent.values())
    convolutions = sum(t for name, t in spent.items() if any(word in name for word in CONVOLUTIONS))
    largest = sorted(spent.items(), key=lambda item: -item[1])[:rows]
    return convolutions / total, {name: time / total for name, time in largest}
