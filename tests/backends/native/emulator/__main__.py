"""``python -m tests.backends.native.emulator``: CUDA kernels, emulated under sanitizers, are clean; faults are seen.

Seen are races (ThreadSanitizer is told of every CUDA thread and of no order but what barriers make), what is read or
written outside a buffer, undefined behaviour, results that nobody writes, and copies that nobody waits for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.backends.native import faults
from tests.backends.native.emulator.checks import wrong
from tests.backends.native.emulator.driver import Case, compiled
from tests.backends.native.emulator.plain_case import PlainCase, project_case, write_case
from tests.backends.native.inputs import Inputs
from tests.backends.native.test_memory_project import project_inputs
from tests.backends.native.test_memory_write import write_inputs

FLAGS = {**faults.SANITIZERS, "": ()}  # without a sanitizer: the emulator's own checks
STORED = {torch.float32: "float", torch.bfloat16: "Bf16"}  # in C++


@dataclass(frozen=True)
class Fault(faults.Fault):
    """Planted in the CUDA kernels."""

    dtype: torch.dtype = torch.bfloat16


FAULTS = (
    Fault(  # a barrier of the block removed
        "attend_tensor_walk.h",
        "__syncthreads();  // ds and g a of all groups are there",
        "",
        "thread",
        "data race",
    ),
    Fault(  # a tile is filled again while others still store it
        "attend_tensor_walk.h",
        "__syncthreads();  // grad_r lies where G was",
        "",
        "thread",
        "data race",
    ),
    Fault(  # slots are read while others still pack them, as in float32 they are split
        "attend_slots.h",
        "__syncthreads();  // packed",
        "",
        "thread",
        "data race",
        torch.float32,
    ),
    Fault(  # of float32's nine products one more is left out
        "attend_float32.h",
        "add(even, 0, 1), add(odd, 1, 1);",
        "add(odd, 1, 1);",
        "",
        "an error of",
        torch.float32,
    ),
    Fault(  # a barrier of a warp removed
        "attend_forward.h",
        "__syncwarp();  // all have read r; from here on it is replaced",
        "",
        "thread",
        "data race",
    ),
    Fault(  # every block adds to the first one's sums
        "attend_backward.h",
        "static_cast<float*>(a.partial) + blockIdx.x * partial_size(a))",
        "static_cast<float*>(a.partial))",
        "thread",
        "data race",
    ),
    Fault(  # an index bound moved
        "attend_tile.h",
        "for (int e = 0; e < kVector<S> && p + e < inside; ++e) target",
        "for (int e = 0; e < kVector<S> && p + e <= inside; ++e) target",
        "address,undefined",
        "heap-buffer-overflow",
    ),
    Fault(  # a shift beyond the type
        "attend_words.h",
        "((1u << lane) - 1)",
        "((1u << (lane + 32)) - 1)",
        "address,undefined",
        "shift exponent",
    ),
    Fault(  # a result that nobody writes
        "attend_forward.h",
        "to[l * a.N + p] = written<S>(0.f);",
        ";",
        "",
        "attention was not written",
    ),
    Fault(  # copies that nobody waits for
        "attend_forward.h",
        "wait_for_copies<0>();\n    __syncwarp();  // the tile is there",
        "wait_for_copies<1>();\n    __syncwarp();  // the tile is there",
        "",
        "was not written",  # the NaN that shared memory begins with
    ),
    Fault(
        "attend_slots.h",
        "wait_for_copies<1>();",
        "wait_for_copies<2>();",
        "",
        "was not written",
    ),
    Fault(
        "attend_forward.h",
        "  wait_for_copies<0>();\n}",
        "}",
        "",
        "a wait is missing",
    ),
    Fault(  # a barrier that not every thread reaches
        "attend_tensor_walk.h",
        "__syncthreads();  // ds and g a of all groups are there",
        "if (thread > 31) __syncthreads();",
        "",
        "is not reached by all threads",
    ),
    Fault(  # memory_write: the barrier between storing a step's factors and multiplying them removed
        "product.h",
        "      __syncthreads();\n      if (first + kStep < depth)",
        "      if (first + kStep < depth)",
        "thread",
        "data race",
        torch.float32,
    ),
    Fault(  # and the one between the teams' sums and their sum
        "product.h",
        "__syncthreads();  // all teams' sums are there",
        "",
        "thread",
        "data race",
        torch.float32,
    ),
    Fault(  # two blocks write the image that lies in the tiles of both
        "write_kernels.h",
        "const int skipped = (p.first_image * a.L < p.first_row) ? 1 : 0;",
        "const int skipped = 0;",
        "thread",
        "data race",
        torch.float32,
    ),
    Fault(  # a bound of a factor moved
        "product.h",
        "inside = q.at < f.count && first",
        "inside = q.at <= f.count && first",
        "address,undefined",
        "heap-buffer-overflow",
        torch.float32,
    ),
    Fault(  # padding is read
        "product.h",
        "(f.real == nullptr || f.real[kAlong ? q.at : first + q.k])",
        "true",
        "",
        "was not written",  # the NaN that stands there
        torch.float32,
    ),
    Fault(  # memory_project: a barrier of the product removed
        "product.h",
        "      // The step before has been read:\n      __syncthreads();\n",
        "",
        "thread",
        "data race",
    ),
    Fault(  # a block counts as arrived before all its numbers are there
        "product.h",
        "__syncthreads();  // all of the block's numbers are there, before it counts as arrived",
        "",
        "thread",
        "data race",
    ),
    Fault(  # and no block takes itself for the last
        "product.h",
        "*before + 1 != unsigned(parts)",
        "true",
        "",
        "was not written",
    ),
    Fault(  # what counts them begins anywhere
        "write_kernels.h",
        "side->arrived[i] = 0;",
        ";",
        "",
        "was not written",
    ),
    Fault(  # a bound of the second stretch of columns moved
        "project_kernels.h",
        "columns = p.channels - column;",
        "columns = p.channels - column + 1;",
        "address,undefined",
        "heap-buffer-overflow",
    ),
    Fault(  # a result that nobody writes
        "project_kernels.h",
        "static_cast<S*>(p.grad_bias)[of_bias] = written<S>(product.row_sum);",
        ";",
        "",
        "grad_key_bias was not written",
    ),
    Fault(  # every block writes the keys' gradients
        "project_kernels.h",
        "work.of_weight(a.values, block - of_memory - of_keys)",
        "work.of_weight(a.keys, 0)",
        "thread",
        "data race",
    ),
    Fault(  # a workspace that nobody writes
        "write_kernels.h",
        "gates[p.R] = p.closed[threadIdx.x];",
        ";",
        "",
        "was not written",
        torch.float32,
    ),
)


def attend_cases(dtype: torch.dtype, *, tf32: bool = False) -> list[Case]:
    """Sizes that divide no tile, and an image without words; both layouts, the first one's rows copied as they are."""
    found = []
    for last, (channels, height, width) in ((False, (24, 4, 12)), (True, (20, 5, 11))):
        inputs = Inputs.random(2, channels, height, width, 18, dtype=dtype, channels_last=last)
        assert inputs.mask is not None
        inputs.mask[1] = False
        found.append(Case("memory_refine", inputs, tf32=tf32, seed=int(last)))
    return found


def write_cases(dtype: torch.dtype) -> list[PlainCase]:
    """An image over several tiles of rows, several images in one, and more words' features than teams take at once."""
    found = []
    for shape in ((2, 35, 100, 3, 70), (3, 5, 7, 11, 13)):
        inputs = [tensor.detach() for tensor in write_inputs(shape, dtype)]
        mask = (torch.arange(shape[1]) % 3 > 0).repeat(shape[0], 1)
        inputs[0][~mask] = float("nan")
        found.append(write_case(tuple(inputs), mask=mask))
    return found


def project_cases(dtype: torch.dtype) -> list[PlainCase]:
    """Sizes that divide no tile, keys and values of unlike sizes."""
    return [project_case(project_inputs(shape, dtype)) for shape in ((2, 35, 70, 33, 67), (3, 5, 7, 11, 13))]


# By the first word of a file of kernels: what runs them in driver.cpp, and cases for them.
OPS: dict[str, tuple[str, Callable[[torch.dtype], Sequence[Case | PlainCase]]]] = {
    "attend": ("run_attend", attend_cases),
    "write": ("run_write", write_cases),
    "product": ("run_write", write_cases),
    "project": ("run_project", project_cases),
}


def all_cases() -> list[Case | PlainCase]:
    """Every kernel."""
    found: list[Case | PlainCase] = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        found += attend_cases(dtype)
        found += write_cases(dtype)
        found += project_cases(dtype)
    found += attend_cases(torch.float32, tf32=True)
    many = {"batch": 1, "channels": 16, "height": 3, "width": 7}
    for words in (60, 128):
        found += [Case("memory_refine", Inputs.random(**many, words=words, dtype=torch.bfloat16))]
        found += [Case("memory_refine", Inputs.random(**many, words=words, dtype=torch.float32), tf32=True)]
    wide = {"batch": 1, "channels": 256, "height": 3, "width": 7}
    found.append(Case("memory_refine", Inputs.random(**wide, words=40, dtype=torch.float32)))
    found.append(Case("memory_refine", Inputs.random(**wide, words=128, dtype=torch.bfloat16)))
    return found


def objections(program: Path, folder: Path, cases: Sequence[Case | PlainCase]) -> str:
    """What the program's checks say against the cases; nothing: clean."""
    folders = [folder / f"case{index}" for index in range(len(cases))]
    for case, place in zip(cases, folders):
        case.write(place)
    variables = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run(
        [str(program), *map(str, folders)], env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return f"ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    for index, (case, place) in enumerate(zip(cases, folders)):
        for name, result in case.read(place).items():
            if result.isnan().any():
                return f"case {index}: {name} was not written"
        for told in wrong(case, place):
            return f"case {index}, {told}"
    return ""


def clean(folder: Path, sanitizer: str) -> int:
    """1: a sanitizer objects to the kernels as they are."""
    place = folder / f"clean {sanitizer}"
    place.mkdir()
    told = objections(compiled(place, *FLAGS[sanitizer]), place, all_cases())
    print(f"{sanitizer}: {f'FAILED, {told[-4000:]}' if told else 'clean'}", flush=True)
    return int(told != "")


def told_of(folder: Path, fault: Fault) -> str:
    """What the checks say of the kernels with a fault."""
    kernels = faults.copy_with(fault, "cuda", folder)
    op, cases_of = next(of for stem, of in OPS.items() if fault.file.startswith(stem))
    flags = (*FLAGS[fault.sanitizer], f"-DONLY={STORED[fault.dtype]}", f"-DONLY_OP={op}")
    return objections(compiled(folder, *flags, kernels=kernels), folder, cases_of(fault.dtype))


if __name__ == "__main__":
    sys.exit(faults.run_all(clean, faults.SANITIZERS, told_of, FAULTS))
