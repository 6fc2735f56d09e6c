"""``python -m benchmarks.memory.builds OLD.so NEW.so``: the kernels of several built libraries, in one call.

Each library in a process of its own, on the same machine within a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.facts import facts
from benchmarks.memory import cases, measure, on_cuda
from memgan.backends.native import loader

MODES = ("forward", "backward")


def times_here(library: Path, seconds: float, device: str) -> dict[str, Any]:
    """Medians in microseconds by case and mode, of the library that this process loads."""
    loader.PREBUILT = library
    measured = on_cuda if device == "cuda" else measure
    found = {}
    for case in cases.ON_CUDA if device == "cuda" else cases.QUICK:
        torch.backends.cuda.matmul.allow_tf32 = case.dtype == "tf32"
        inputs = case.inputs()
        for mode in MODES:
            steps = {cases.OURS: measured.step(mode, cases.native, inputs)}
            taken = measure.in_turns(steps, seconds)[cases.OURS]
            found[f"{case.name}, {case.dtype}, {mode}"] = round(1e6 * taken.median, 1)
    return {"library": library.name, "us": found, **facts()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.builds", description=__doc__)
    parser.add_argument("library", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=0.08, help="of timing for each case and mode")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal, one tiny case"
    )
    parser.add_argument("--out", type=Path, help="JSON lines, one a library")
    parser.add_argument("--here", action="store_true", help="the one library in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(times_here(arguments.library[0].resolve(), arguments.seconds, arguments.device)))
        return
    lines = []
    for library in arguments.library:
        command = [sys.executable, "-m", "benchmarks.memory.builds", "--here", str(library)]
        command += ["--seconds", str(arguments.seconds), "--device", arguments.device]
        lines.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    if arguments.out:
        arguments.out.write_text("".join(lines))
    found = [json.loads(line)["us"] for line in lines]
    for name in found[0]:
        print(f"{name:40s}" + "".join(f"{each[name]:10.1f}" for each in found) + "  us")


if __name__ == "__main__":
    main()
