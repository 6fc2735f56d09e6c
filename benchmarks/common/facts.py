"""The facts that go with every measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import memgan
from benchmarks.common.commit import commit
from memgan.backends.native import loader


def facts() -> dict[str, Any]:
    """Machine, versions, commit; a "+" behind the commit: what was measured had changes."""
    return {
        "machine": _cpu(),
        **_gpu(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "malloc": {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")},
        "instruction set": loader.STATE.capability,
        "platform": _platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "memgan": memgan.__version__,
        "commit": commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _platform() -> str:
    """System, kernel without the marks of whoever built it, architecture, C library."""
    kernel = platform.release().partition("-")[0]
    return "-".join([platform.system(), kernel, platform.machine(), "".join(platform.libc_ver())])


def _gpu() -> dict[str, Any]:
    """Of the machine with one: its name, its driver, what the kernels were compiled with and for."""
    if not torch.cuda.is_available():
        return {}
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpu memory": properties.total_memory,
        "driver": _told("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").partition("\n")[
            0
        ],
        "torch cuda": torch.version.cuda,
        "cuda kernels": " ".join(loader.STATE.architectures),
    }


def _cpu() -> str:
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        return names[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def _told(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
