"""``python -m tests.backends.native.sanitizers``: clean kernels pass, and each check sees its planted fault.

The kernels are plain C++, so the driver needs neither torch nor Python.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from memgan.backends.native import build
from tests.backends.native.faults import SANITIZERS, Fault, copy_with, run_all

CPU = build.CSRC / "cpu"
DRIVER = Path(__file__).parent / "driver.cpp"
CAPABILITIES = ("avx512", "avx2", "generic")
UNAVAILABLE = 4  # the driver's exit status where the CPU has not the instruction set that is asked for
GENERIC_ALONE = """#include "attend.h"
namespace memgan::cpu {
const Kernels& kernels() { return kernels_generic(); }
}
"""


FAULTS = (
    Fault(  # an index bound removed
        "tile.h",
        "for (int64_t p = 0; p < count; ++p) to[row",
        "for (int64_t p = 0; p <= count; ++p) to[row",
        "address,undefined",
        "heap-buffer-overflow",
    ),
    Fault(  # every chunk adds to the first one's sums
        "attend_backward.h",
        "T* slots = static_cast<T*>(a.partial) + item * size;",
        "T* slots = static_cast<T*>(a.partial);",
        "thread",
        "data race",
    ),
    Fault(  # a result that nobody writes
        "attend_forward.h",
        "for (int64_t p = 0; p < count; ++p) to[p] = written<S>(T(0));",
        ";",
        "address,undefined",
        "was not written",
    ),
    Fault(  # the ends of rows of channels taken for whole registers
        "norm_glu_forward.h",
        "int(std::min<int64_t>(lanes, a.C - c)), row == 0});",
        "lanes, row == 0});",
        "address,undefined",
        "heap-buffer-overflow",
    ),
    Fault(  # a shift beyond the type
        "simd.h",
        "const uint32_t bits = uint32_t(x.bits) << 16;",
        "const uint32_t bits = uint32_t(x.bits) << (32 + (x.bits & 1));",
        "address,undefined",
        "shift exponent",
    ),
)


def compile_driver(sources: Path, sanitizer: str, to: Path, *, generic: bool = False) -> None:
    """The kernels and the driver under a sanitizer; ``generic``: the kernels of that instruction set alone.

    Nothing is optimized: compiling takes longer than all that is run.
    """
    command = build.compiler()
    assert command is not None
    kernels = [*sorted(sources.glob("kernels_*.cpp")), sources / "select.cpp"]
    if generic:
        only = to.with_suffix(".cpp")
        only.write_text(GENERIC_ALONE)
        kernels = [sources / "kernels_generic.cpp", only]
    options = ["-std=c++20", "-O0", "-Wno-psabi", *SANITIZERS[sanitizer], f"-I{sources}"]
    subprocess.run(
        [*shlex.split(command), *options, *map(str, (*kernels, DRIVER)), "-o", str(to), "-pthread"],
        check=True,
    )


def run(program: Path, capability: str) -> tuple[int, str]:
    """Exit status and words of one run."""
    variables = {**os.environ, "MEMGAN_CPU_CAPABILITY": capability, "TSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run([str(program)], env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def clean(folder: Path, name: str) -> int:
    """How many instruction sets' kernels a sanitizer objects to."""
    wrong, program = 0, folder / name
    compile_driver(CPU, name, program)
    for capability in CAPABILITIES:
        code, words = run(program, capability)
        told = {0: "clean", UNAVAILABLE: "unavailable on this CPU"}.get(code, f"FAILED\n{words[-4000:]}")
        print(f"{name}, {capability}: {told}", flush=True)
        wrong += code not in (0, UNAVAILABLE)
    return wrong


def told_of(folder: Path, fault: Fault) -> str:
    """What the checks say of the kernels with a fault."""
    kernels = copy_with(fault, "cpu", folder)
    compile_driver(kernels, fault.sanitizer, folder / "program", generic=True)
    code, words = run(folder / "program", "generic")
    return words if code != 0 else ""


if __name__ == "__main__":
    sys.exit(run_all(clean, SANITIZERS, told_of, FAULTS))
