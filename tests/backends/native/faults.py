"""Faults planted in copies of the kernels: a check that lets its fault through fails the run.

A fault is one line of the kernels made wrong. ``run_all`` first asks that the kernels as they are be clean, then that
every fault be seen, on as many cores as compilers have memory for.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from memgan.backends.native import build

# Compilers' flags, by sanitizer. Three checks of UndefinedBehaviorSanitizer are left out, which double the time that
# compiling takes: AddressSanitizer sees where such a pointer is used.
SANITIZERS = {
    "address,undefined": (
        "-g1",
        "-fsanitize=address,undefined",
        "-fno-sanitize=null,object-size,pointer-overflow",
        "-fno-sanitize-recover=undefined",
    ),
    "thread": ("-g1", "-fsanitize=thread"),
}


@dataclass(frozen=True)
class Fault:
    """One line of the kernels made wrong, and what a check must then say."""

    file: str
    line: str
    wrong: str
    sanitizer: str
    said: str


Planted = TypeVar("Planted", bound=Fault)


def copy_with(fault: Fault, device: str, copy: Path) -> Path:
    """A copy of the kernels that holds the fault, at ``copy``; those of ``device``, in there."""
    shutil.copytree(build.CSRC, copy)
    path = copy / device / fault.file
    text = path.read_text()
    if text.count(fault.line) != 1:
        raise SystemExit(f"{fault.file} does not hold the line that the fault changes: {fault.line}")
    path.write_text(text.replace(fault.line, fault.wrong))
    return copy / device


def run_all(
    clean: Callable[[Path, str], int],
    sanitizers: Iterable[str],
    objections: Callable[[Path, Planted], str],
    faults: Iterable[Planted],
) -> int:
    """0: the kernels are clean, and every planted fault was seen; or there is no compiler, which is said.

    Args:
        clean: folder to work in, a sanitizer → how many objections it has to the kernels as they are.
        sanitizers: their names.
        objections: folder to work in, a fault → what the checks say of the kernels with it; nothing: clean.
        faults: all of them.
    """
    if build.compiler() is None:
        print(f"unavailable: {build.NoCompiler()}")
        return 0

    def missed(folder: Path, fault: Planted) -> int:
        told = objections(folder, fault)
        seen = fault.said in told
        print(
            f"planted in {fault.file}: {'seen' if seen else f'MISSED: {told[-2000:]}'} ({fault.said})",
            flush=True,
        )
        return int(not seen)

    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(build._jobs()) as pool:
        folder = Path(temporary)
        runs = [pool.submit(clean, folder, name) for name in sanitizers]
        runs += [pool.submit(missed, folder / f"faulty{i}", fault) for i, fault in enumerate(faults)]
        return int(sum(run.result() for run in runs) > 0)
