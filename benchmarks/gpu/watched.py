"""Every kernel once, forward and backward, for as long as there is time: what a sanitizer watches.

A sanitizer sums up only where the program ends: this one ends by itself, and says how far it came.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import memgan
from benchmarks.gpu.check import calls, results
from memgan.backends import native

SIZES = (  # B, C, H, W, L, E, M: the paper's channels, CLIP's words, and nothing that a tile divides
    (2, 64, 8, 16, 18, 33, 70), (1, 128, 8, 8, 77, 24, 40), (2, 5, 3, 7, 5, 6, 9)
)  # fmt: skip
DTYPES = {
    "bfloat16": torch.bfloat16,
    "tf32": torch.float32,
    "float32": torch.float32,
    "float16": torch.float16,
    "float64": torch.float64,
}


def watched(device: str) -> Iterator[str]:
    """Each call's name, once it is through; the first are of the kernels that most is made of."""
    for sizes in SIZES:
        for kind, dtype in DTYPES.items():
            if dtype not in native.DTYPES[device]:
                continue
            torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
            for op, inputs in calls(sizes, dtype, device).items():
                results(getattr(memgan, op), inputs)
                if device == "cuda":
                    torch.cuda.synchronize()
                yield f"{op} {sizes} {kind}"


def run(device: str, seconds: float) -> dict[str, Any]:
    """``calls`` that were made of the ``of`` that there are, within ``seconds`` from now."""
    begun = time.perf_counter()
    kinds = sum(dtype in native.DTYPES[device] for dtype in DTYPES.values())
    found: dict[str, Any] = {"calls": 0, "of": 4 * len(SIZES) * kinds}
    with memgan.use_backend("native"):
        for name in watched(device):
            found["calls"] += 1
            print(f"{time.perf_counter() - begun:.1f} s: {name}", flush=True)
            if time.perf_counter() - begun > seconds:
                break
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.watched", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1e9, help="no call is begun beyond")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = run(arguments.device, arguments.seconds)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
