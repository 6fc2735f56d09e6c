"""``python -m benchmarks.memory.compiled``: what the benchmark gives to torch.compile, compiled into inductor's cache.

Each case in a process of its own, all at once: the benchmark then finds them there, and a GPU that is there for minutes
does not wait for compilers.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch

from benchmarks.memory import cases


def compile_case(case: cases.Case) -> str:
    """Both graphs of a case, forward alone and with its backward; the case's name."""
    torch.backends.cuda.matmul.allow_tf32 = case.dtype == "tf32"
    inputs = case.inputs()
    refine = cases.providers()["definition, torch.compile"]
    tensors = inputs.tensors()
    torch.autograd.grad(refine(*inputs.arguments(tensors)), tensors, inputs.grad)
    with torch.no_grad():
        refine(*inputs.arguments(tuple(tensor.detach() for tensor in tensors)))
    return f"{case.name}, {case.dtype}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.compiled", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="one tiny case")
    arguments = parser.parse_args()
    chosen = cases.QUICK if arguments.quick else cases.CASES if arguments.device == "cpu" else cases.ON_CUDA
    chosen = tuple(replace(case, device=arguments.device) for case in chosen if case.compiles)
    with ProcessPoolExecutor(len(chosen), mp_context=get_context("spawn")) as pool:
        for name in pool.map(compile_case, chosen):
            print(f"compiled {name}", flush=True)


if __name__ == "__main__":
    main()
