"""Build the kernels where there is a compiler: once a machine, at first use, into a cache.

The library is one file for every Python and for machines with and without CUDA: torch's stable ABI, nothing of CPython,
the CUDA runtime inside. The key of the cache is everything that the file depends on; a build happens in a folder of
its own and appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch

from memgan.backends.native import toolkit as cuda

CSRC = Path(__file__).parent / "csrc"
NAME = "libmemgan_native.so"
LOG = "build.log"  # beside the library that was not built
# The oldest torch whose stable ABI the file uses, 2.11: it loads in every later one.
SHARED_FLAGS = ("-std=c++20", "-O3", "-DTORCH_TARGET_VERSION=0x020b000000000000")
FLAGS = (*SHARED_FLAGS, "-fPIC", "-fvisibility=hidden", "-Wno-psabi")
CUDA_FLAGS = (*SHARED_FLAGS, "-Xcompiler=-fPIC,-fvisibility=hidden,-Wno-psabi")
BYTES_A_JOB = 1 << 30  # of memory, for one compiler at work


class BuildError(RuntimeError):
    """The kernels could not be built; the message says why and where the compiler's words are."""


class NoCompiler(BuildError):
    """There is nothing to build with: no fault, the definition does the work."""

    def __init__(self) -> None:
        super().__init__("no C++ compiler was found (g++ or clang++; CXX names another)")


@dataclass(frozen=True)
class Plan:
    """With what a library is built, and for which GPUs."""

    compiler: str  # a command as a shell takes it, maybe of several words
    toolkit: cuda.Toolkit | None = None  # None: for the CPU alone
    architectures: tuple[str, ...] = ()
    without_cuda: str | None = None  # why

    def sources(self) -> list[Path]:
        """What is compiled."""
        return sorted((CSRC / "cpu").glob("*.cpp")) + (
            sorted((CSRC / "cuda").glob("*.cu")) if self.toolkit else []
        )

    def command(self, source: Path, to: Path) -> list[str]:
        """What compiles one of them."""
        include = ("-isystem", str(Path(torch.__file__).parent / "include"))
        if source.suffix != ".cu" or self.toolkit is None:
            return [*shlex.split(self.compiler), *FLAGS, *include, "-c", str(source), "-o", str(to)]
        told = f'-DMEMGAN_CUDA_ARCHITECTURES="{" ".join(self.architectures)}"'
        return [
            *(str(self.toolkit.nvcc), *self._for_nvcc(), *CUDA_FLAGS, told),
            *(*cuda.flags(self.architectures, source.stem), *include, "-c", str(source), "-o", str(to)),
        ]

    def _for_nvcc(self) -> list[str]:
        """The compiler as nvcc takes it: one program, without what launches it, and its options one by one."""
        words = shlex.split(self.compiler)
        programs = list(takewhile(lambda word: not word.startswith("-"), words))
        return [f"-ccbin={programs[-1]}", *(f"-Xcompiler={word}" for word in words[len(programs) :])]

    def link(self, objects: list[Path], to: Path) -> list[str]:
        """What makes the library of them: it needs torch's CPU library and the system's, nothing of CUDA."""
        libraries = [f"-L{Path(torch.__file__).parent / 'lib'}", "-ltorch_cpu"]
        if self.toolkit:
            libraries += [f"-L{self.toolkit.libraries}", "-lcudart_static", "-ldl", "-lrt", "-lpthread"]
            libraries += ["-Wl,--exclude-libs,libcudart_static.a"]
        return [*shlex.split(self.compiler), *map(str, objects), "-shared", "-o", str(to), *libraries]

    def key(self) -> str:
        """Sixteen digits that change with sources, flags, compilers, architectures, torch and machine."""
        digest = hashlib.sha256()
        texts = [*map(_identity, shlex.split(self.compiler)), *FLAGS, torch.__version__, platform.machine()]
        if self.toolkit:
            texts += [_identity(str(self.toolkit.nvcc)), *CUDA_FLAGS, *self.architectures]
        digest.update("\n".join(texts).encode())
        folders = ("cpu", "cuda") if self.toolkit else ("cpu",)
        for path in sorted([*CSRC.glob("*"), *(path for name in folders for path in CSRC.glob(f"{name}/*"))]):
            if path.is_file():
                digest.update(str(path.relative_to(CSRC)).encode() + path.read_bytes())
        return digest.hexdigest()[:16]


def _identity(command: str) -> str:
    """A program, and which file of its name it is; any other word as it is."""
    path = shutil.which(command)
    if path is None:
        return command
    stat = os.stat(path)
    return f"{command} {os.path.realpath(path)} {stat.st_size} {stat.st_mtime_ns}"


def compiler() -> str | None:
    """The C++ compiler: CXX, or the first that is found; None: there is none.

    CXX may have several words, as in ``ccache g++``; the result is quoted for a shell where it must be.
    """
    chosen = os.environ.get("CXX")
    for words in [_words(chosen)] if chosen else [["g++"], ["clang++"]]:
        if words and (program := shutil.which(words[0])):
            return shlex.join([program, *words[1:]])
    return None


def _words(command: str) -> list[str]:
    """As a shell splits them, but a path with a space in it is one; none where a quote is left open."""
    if shutil.which(command):
        return [command]
    try:
        return shlex.split(command)
    except ValueError:
        return []


def plan(*, for_all_machines: bool = False) -> Plan:
    """CUDA is compiled for a wheel where there is a toolkit, at first use where torch sees a GPU.

    ``MEMGAN_CUDA``: 0 forbids it, 1 insists on it. ``MEMGAN_CUDA_ARCHS``: for what.

    Raises:
        BuildError: no compiler, or CUDA is insisted on and cannot be had.
    """
    command = compiler()
    if command is None:
        raise NoCompiler
    asked = os.environ.get("MEMGAN_CUDA", "")
    if asked not in ("", "0", "1"):
        raise BuildError(f"MEMGAN_CUDA must be 0 or 1, got {asked!r}")
    here = () if for_all_machines else cuda.devices()
    if asked == "0":
        return Plan(command, without_cuda="MEMGAN_CUDA=0 forbade to compile it")
    if not (asked or for_all_machines or here):
        return Plan(command, without_cuda="torch saw no CUDA device when it was built; MEMGAN_CUDA=1 insists")
    try:
        found = cuda.find()
        if found is None:
            raise cuda.NoToolkit(f"no CUDA toolkit was found ({cuda.SEARCHED})")
        return Plan(command, found, cuda.architectures(found, here))
    except cuda.NoToolkit as error:
        if asked:
            raise BuildError(f"MEMGAN_CUDA=1, but {error}") from error
        return Plan(command, without_cuda=str(error))


def cache_folder() -> Path:
    """``MEMGAN_CACHE`` or ``~/.cache/memgan``, in it the kernels' own folder."""
    return Path(os.environ.get("MEMGAN_CACHE") or Path.home() / ".cache" / "memgan") / "native"


def build() -> tuple[Path, str | None]:
    """The library's path, built now if this machine has not built it yet; and why it holds no CUDA, if it does not.

    Where nvcc refuses, the CPU's kernels are built alone, unless ``MEMGAN_CUDA=1`` insists.

    Raises:
        BuildError: no compiler (NoCompiler), no place to write, or the compiler refused.
    """
    chosen = plan()
    if chosen.toolkit and os.environ.get("MEMGAN_CUDA") != "1":
        log = cache_folder() / chosen.key() / LOG
        if not log.is_file():  # a failure is not repeated in every process
            try:
                return _built(chosen), None
            except BuildError as error:
                if not log.is_file():
                    raise
                del error
        chosen = Plan(
            chosen.compiler, without_cuda=f"nvcc refused, its words are in {log}; delete it to try again"
        )
    return _built(chosen), chosen.without_cuda


def _built(chosen: Plan) -> Path:
    folder = cache_folder() / chosen.key()
    library = folder / NAME
    if library.is_file():
        return library
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:  # freed by the system when a process dies
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not library.is_file():
                build_into(folder, chosen)
    except OSError as error:
        raise BuildError(
            f"{folder} cannot be written to ({error}); MEMGAN_CACHE names another place"
        ) from error
    return library


def build_into(folder: Path, chosen: Plan, *more: str) -> str:
    """Build the library into ``folder``: whole, or not at all and a BuildError. ``more`` are words for nvcc.

    Returns:
        The commands, and what they said.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as temporary:
        work = Path(temporary)
        objects = {path: work / f"{path.stem}.o" for path in chosen.sources()}
        commands = [
            chosen.command(path, to) + list(more if path.suffix == ".cu" else ())
            for path, to in objects.items()
        ]
        with ThreadPoolExecutor(_jobs()) as pool:
            told = list(pool.map(_run, commands))
        if not any(code for code, _ in told):
            told.append(_run(chosen.link(list(objects.values()), work / NAME)))
        words = "\n".join(text for _, text in told)
        if any(code for code, _ in told):
            log = folder / LOG
            log.write_text(words)
            raise BuildError(f"{chosen.compiler} could not build the kernels: its words are in {log}")
        os.replace(work / NAME, folder / NAME)
    return words


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
