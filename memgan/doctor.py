"""``python -m memgan.doctor [--json]``: what runs here, and why not something faster.

Versions, the tools that kernels are built with, devices, memgan's environment variables, and for every op and device
which backend it takes. It builds the kernels if they have not been built yet, as the first call would.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shlex
import subprocess
import sys
import traceback
from typing import Any

import torch

from memgan.backends import dispatch

VARIABLES = (
    *(
        "MEMGAN_BACKEND",
        "MEMGAN_CACHE",
        "MEMGAN_JIT",
        "MEMGAN_CPU_CAPABILITY",
        "MEMGAN_CUDA",
        "MEMGAN_CUDA_ARCHS",
    ),
    *("CXX", "CUDA_HOME", "CUDA_PATH"),
)


def report() -> dict[str, Any]:
    """Everything, as plain data."""
    import memgan

    kernels = _kernels()
    return {
        "memgan": memgan.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torch cuda": torch.version.cuda,
        "cpu": {
            "capability of torch": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
        "gpus": _gpus(),
        "compiler": _version(kernels.pop("compiler"), "--version"),
        "cuda toolkit": kernels.pop("toolkit"),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "kernels": kernels,
        "chosen backend": dispatch._State.backend,
        "ops": {op: _backends(op) for op in dispatch.OPS},
    }


def _kernels() -> dict[str, Any]:
    """The library and how it came to be; where the native backend cannot even be imported, why."""
    native = dispatch._native()
    if isinstance(native, str):
        nothing = dict.fromkeys(("compiler", "toolkit", "path", "cache", "cuda"))
        return nothing | {
            "loaded": False,
            "reason": native,
            "origin": "",
            "instruction set": "",
            "error": _import_error(),
        }
    from memgan.backends.native import build, loader, toolkit

    reason = native.unavailable_reason()
    state = loader.STATE
    return {
        "compiler": build.compiler(),
        "toolkit": _toolkit(toolkit.find()),
        "loaded": reason is None,
        "reason": reason,
        "path": None if state.path is None else str(state.path),
        "origin": state.origin,
        "instruction set": state.capability,
        "cuda": {
            "architectures": list(state.architectures),
            "missing because": state.without_cuda,
            "runtime": state.runtime,
            "driver takes": state.driver,
        },
        "cache": str(build.cache_folder()),
        "error": _error(state.error),
    }


def _toolkit(found: Any) -> str | None:
    """Which one, and its version: a shim that cannot be run is told of and no crash."""
    if found is None:
        return None
    try:
        return f"{found.version}: {found.home}"
    except RuntimeError as error:
        return str(error)


def _import_error() -> str | None:
    try:
        importlib.import_module("memgan.backends.native")
    except ImportError as error:
        return _error(error)
    return None


def _backends(op: str) -> dict[str, dict[str, str | None]]:
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return {device: _backend(op, device) for device in devices}


def _backend(op: str, device: str) -> dict[str, str | None]:
    reason = dispatch.unsupported_reason(op, torch.empty(1, 1, 1, 1, device=device))
    chosen = dispatch._State.backend
    takes = "native" if reason is None and chosen != "reference" else "reference"
    if chosen == "native" and reason is not None and not dispatch.falls_back(reason):
        takes = "none"  # a call raises BackendUnavailable
    return {"takes": takes, "not native because": reason}


def _gpus() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    return [
        {
            "name": torch.cuda.get_device_name(index),
            "architecture": "sm_{}{}".format(*torch.cuda.get_device_capability(index)),
            "memory": torch.cuda.get_device_properties(index).total_memory,
        }
        for index in range(torch.cuda.device_count())
    ]


def _version(command: str | None, flag: str, *, last: bool = False) -> str | None:
    if command is None:
        return None
    try:
        told = subprocess.run(
            [*shlex.split(command), flag], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command} cannot be run ({error})"
    lines = told.strip().splitlines() or ["says nothing"]
    return f"{command}: {lines[-1 if last else 0]}"


def _error(error: BaseException | None) -> str | None:
    return None if error is None else "".join(traceback.format_exception(error)).strip()


def text(facts: dict[str, Any]) -> str:
    """The report for people."""
    lines = []
    for name in ("memgan", "python", "platform", "torch", "torch cuda", "compiler", "cuda toolkit"):
        lines.append(f"{name:16s}{facts[name] or 'none'}")
    lines.append(f"{'cpu':16s}{facts['cpu']['capability of torch']}, {facts['cpu']['threads']} threads")
    gpus = [f"{gpu['name']} ({gpu['architecture']})" for gpu in facts["gpus"]]
    lines.append(f"{'gpus':16s}{', '.join(gpus) or 'none'}")
    for name, value in facts["environment"].items():
        lines.append(f"{name:15s} {value}")  # the longest names are longer than the column
    kernels = facts["kernels"]
    if kernels["loaded"]:
        lines.append(f"{'kernels':16s}{kernels['origin']}, {kernels['instruction set']}: {kernels['path']}")
        lines.append(f"{'  for gpus':16s}{_for_gpus(kernels['cuda'])}")
    else:
        lines.append(f"{'kernels':16s}none: {kernels['reason']}")
    lines.append(f"{'backend':16s}{facts['chosen backend']}")
    for op, devices in facts["ops"].items():
        for device, answer in devices.items():
            takes = "none, calls raise BackendUnavailable" if answer["takes"] == "none" else answer["takes"]
            why = "" if takes == "native" else f": {answer['not native because'] or 'chosen'}"
            lines.append(f"  {op:16s}{device:6s}{takes}{why}")
    return "\n".join(lines)


def _for_gpus(cuda: dict[str, Any]) -> str:
    if not cuda["architectures"]:
        return f"none: {cuda['missing because']}"
    driver = cuda["driver takes"]
    takes = (
        f"the driver takes {driver // 1000}.{driver % 1000 // 10}" if driver else "there is no driver here"
    )
    runtime = f"{cuda['runtime'] // 1000}.{cuda['runtime'] % 1000 // 10}"
    return f"{' '.join(cuda['architectures'])}, runtime {runtime}, {takes}"


def main(argv: list[str]) -> int:
    """Print the report; exit status 0 whatever it says."""
    if set(argv) - {"--json"}:
        print("usage: python -m memgan.doctor [--json]", file=sys.stderr)
        return 2
    facts = report()
    print(json.dumps(facts, indent=2) if "--json" in argv else text(facts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
