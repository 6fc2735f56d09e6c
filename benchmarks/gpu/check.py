"""Load the library and call every op once, forward and backward, beside the definition: seconds, errors, launches.

``--facts`` calls nothing and tells what is here. ``--built-here`` takes no prebuilt library. ``--large`` compares
nothing: it is what a profiler watches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import memgan
from memgan import doctor
from memgan.backends import native, reference
from memgan.backends.native import loader

SIZES = (  # B, C, H, W, L, E, M
    (2, 5, 3, 7, 5, 6, 9), (4, 64, 32, 32, 18, 256, 128), (2, 128, 16, 24, 77, 64, 96), (1, 264, 8, 8, 130, 9, 7)
)  # fmt: skip
LARGE = ((64, 64, 64, 64, 18, 256, 128), (64, 128, 64, 64, 77, 256, 128))
# Of the result, relative to its largest value, against the definition in float64.
WORST = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 5e-3}


def facts() -> dict[str, Any]:
    """What the doctor says, and the driver's own tool."""
    os.environ["MEMGAN_JIT"] = "0"  # a part of its own builds
    found = doctor.report()
    try:
        done = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=30, check=False)
        found["nvidia-smi"] = done.stdout
    except OSError as error:
        found["nvidia-smi"] = f"unavailable: {error}"
    return found


def calls(sizes: tuple[int, ...], dtype: torch.dtype, device: str) -> dict[str, list[Tensor | None]]:
    """Arguments of each op."""
    B, C, H, W, L, E, M = sizes
    made = torch.Generator().manual_seed(1)

    def normal(*size: int, deviation: float = 1.0) -> Tensor:
        numbers = deviation * torch.randn(*size, generator=made, dtype=torch.float64)
        return numbers.to(device, dtype).requires_grad_()

    mask = (torch.arange(L) < torch.randint(1, L + 1, (B, 1), generator=made)).to(device)
    attend = [normal(B, C, H, W), normal(B, L, C, deviation=C**-0.5), normal(B, L, C), mask]
    gate = [normal(1, 2 * C, deviation=C**-0.5), normal(1)]
    write = [normal(B, L, E), normal(B, C), normal(M, E, deviation=E**-0.5), normal(M)]
    write += [normal(M, C, deviation=C**-0.5), normal(M), normal(1, E, deviation=E**-0.5), normal(1, C)]
    project = [normal(B, L, M), normal(C, M, deviation=M**-0.5), normal(C)]
    project += [normal(C, M, deviation=M**-0.5), normal(C)]
    return {
        "memory_read": attend,
        "memory_refine": [*attend, *gate],
        "memory_write": [*write, mask],
        "memory_project": project,
    }


def results(function: Any, inputs: list[Tensor | None]) -> list[Tensor]:
    """The results and the gradients of a sum of their squares."""
    told = function(*inputs)
    told = [x for x in (told if isinstance(told, tuple) else (told,)) if x is not None]
    wanted = [x for x in inputs if x is not None and x.is_floating_point()]
    grads = torch.autograd.grad(sum(x.square().sum() for x in told), wanted)
    return [*(x.detach() for x in told), *grads]


def compare(op: str, inputs: list[Tensor | None]) -> float:
    """The largest error of the result, and of the gradients against the largest value of each."""
    wide = [x if x is None or x.dtype == torch.bool else x.detach().double().requires_grad_() for x in inputs]
    mine, right = results(getattr(memgan, op), inputs), results(getattr(reference, op), wide)
    return max(
        float((m.double() - r).abs().max() / r.abs().max().clamp_min(1e-30)) for m, r in zip(mine, right)
    )


def layer(device: str) -> dict[str, Any]:
    """Kernels that DynamicMemory's forward starts, with the fused ops and with the definition."""
    if device != "cuda":
        return {}
    memory = memgan.DynamicMemory(64, 256).cuda()
    inputs = torch.randn(2, 64, 32, 32, device=device), torch.randn(2, 18, 256, device=device)
    found = {}
    for backend in ("native", "reference"):
        with memgan.use_backend(backend), torch.no_grad():  # type: ignore[arg-type]
            memory(*inputs)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                memory(*inputs)
                torch.cuda.synchronize()
        of_device = torch.autograd.DeviceType.CUDA
        found[backend] = [event.name for event in profile.events() if event.device_type == of_device]
    return found


def profiled(device: str) -> None:
    """One call of each op, forward and backward, at the sizes of the benchmark: on tensor cores, by TF32, without."""
    for sizes in LARGE:
        for dtype, tf32 in ((torch.bfloat16, False), (torch.float32, True), (torch.float32, False)):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            for op, inputs in calls(sizes, dtype, device).items():
                if op != "memory_read":  # refine's kernels, without the gate
                    results(getattr(memgan, op), inputs)
    if device == "cuda":
        torch.cuda.synchronize()


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """All comparisons; ``wrong`` names those that are too far off."""
    begun = time.perf_counter()
    if arguments.built_here:
        loader.PREBUILT = Path("nowhere")
    memgan.use_backend("native")
    found: dict[str, Any] = {
        "seconds to load": round(time.perf_counter() - begun, 2),
        "origin": loader.STATE.origin,
        "library": str(loader.STATE.path),
        "architectures": list(loader.STATE.architectures),
        "without cuda": loader.STATE.without_cuda,
        "errors": {},
        "wrong": [],
    }
    if arguments.large:
        profiled(arguments.device)
        return found
    dtypes = [d for d in WORST if d in native.DTYPES[arguments.device]]
    for sizes in SIZES:
        for dtype in dtypes:
            for op, inputs in calls(sizes, dtype, arguments.device).items():
                name = f"{op} {sizes} {str(dtype).removeprefix('torch.')}"
                worst = found["errors"][name] = compare(op, inputs)
                if not worst < WORST[dtype]:
                    found["wrong"].append(name)
    found["doctor"] = doctor.report()
    found["launches of a layer"] = layer(arguments.device)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.check", description=__doc__)
    parser.add_argument("--facts", action="store_true")
    parser.add_argument("--built-here", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = facts() if arguments.facts else run(arguments)
    told = json.dumps(found, indent=1)
    print(told)
    if arguments.json is not None:
        arguments.json.write_text(told)
    return int(bool(found.get("wrong")))


if __name__ == "__main__":
    sys.exit(main())
