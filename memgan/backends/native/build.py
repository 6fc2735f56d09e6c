"""Build the kernels where there is a compiler: once a machine, at first use, into a cache.

The library is one file for every Python: torch's stable ABI, nothing of CPython. The key of the cache is everything
that the file depends on; a build happens in a folder of its own and appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

CSRC = Path(__file__).parent / "csrc"
NAME = "libmemgan_native.so"
# The oldest torch whose stable ABI the file uses, 2.11: it loads in every later one.
FLAGS = (
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wno-psabi",
    "-DTORCH_TARGET_VERSION=0x020b000000000000",
)
BYTES_A_JOB = 1 << 30  # of memory, for one compiler at work


class BuildError(RuntimeError):
    """The kernels could not be built; the message says why and where the compiler's words are."""


class NoCompiler(BuildError):
    """There is nothing to build with: no fault, the definition does the work."""

    def __init__(self) -> None:
        super().__init__("no C++ compiler was found (g++ or clang++; CXX names another)")


def sources() -> list[Path]:
    """What is compiled."""
    return sorted((CSRC / "cpu").glob("*.cpp"))


def compiler() -> str | None:
    """The C++ compiler: CXX, or the first that is found; None: there is none."""
    chosen = os.environ.get("CXX")
    return shutil.which(chosen) if chosen else shutil.which("g++") or shutil.which("clang++")


def cache_folder() -> Path:
    """``MEMGAN_CACHE`` or ``~/.cache/memgan``, in it the kernels' own folder."""
    return Path(os.environ.get("MEMGAN_CACHE") or Path.home() / ".cache" / "memgan") / "native"


def key(command: str) -> str:
    """Sixteen digits that change with sources, flags, compiler, torch and machine."""
    digest = hashlib.sha256()
    for text in (command, *FLAGS, torch.__version__, platform.machine()):
        digest.update(f"{text}\n".encode())
    for path in sorted(CSRC.rglob("*")):
        if path.suffix in (".h", ".cpp"):
            digest.update(str(path.relative_to(CSRC)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def build() -> Path:
    """The library's path; built now if this machine has not built it yet.

    Raises:
        BuildError: no compiler (NoCompiler), no place to write, or the compiler refused.
    """
    command = compiler()
    if command is None:
        raise NoCompiler
    folder = cache_folder() / key(command)
    library = folder / NAME
    if library.is_file():
        return library
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:  # freed by the system when a process dies
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not library.is_file():
                build_into(folder)
    except OSError as error:
        raise BuildError(
            f"{folder} cannot be written to ({error}); MEMGAN_CACHE names another place"
        ) from error
    return library


def build_into(folder: Path) -> None:
    """Build the library into ``folder``: whole, or not at all and a BuildError."""
    command = compiler()
    if command is None:
        raise NoCompiler
    with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as temporary:
        work = Path(temporary)
        objects = {path: work / f"{path.stem}.o" for path in sources()}
        include = Path(torch.__file__).parent / "include"
        compile_ = [command, *FLAGS, "-isystem", str(include), "-c"]
        with ThreadPoolExecutor(_jobs()) as pool:
            runs = [pool.submit(_run, [*compile_, str(path), "-o", str(to)]) for path, to in objects.items()]
            told = [run.result() for run in runs]
        if not any(code for code, _ in told):
            libraries = Path(torch.__file__).parent / "lib"
            link = ["-shared", "-o", str(work / NAME), f"-L{libraries}", "-ltorch_cpu"]
            told.append(_run([command, *map(str, objects.values()), *link]))
        if any(code for code, _ in told):
            log = folder / "build.log"
            log.write_text("\n".join(text for _, text in told))
            raise BuildError(f"{command} could not build the kernels: its words are in {log}")
        os.replace(work / NAME, folder / NAME)


def _run(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, f"$ {' '.join(command)}\n{done.stdout}"


def _jobs() -> int:
    """Compilers at once: as many as cores, and no more than memory holds."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        free = BYTES_A_JOB
    return max(1, min(len(os.sched_getaffinity(0)), free // BYTES_A_JOB))
