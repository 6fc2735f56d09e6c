"""What CUDA code is compiled with: a toolkit that is whole, and the architectures that it knows.

torch's own search (``torch.utils.cpp_extension``) finds none where torch has no CUDA, and asks a GPU what to build
for; a library for every machine is built where there is neither.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

# What a library for every machine holds: machine code for the four, and PTX of two, which drivers compile for what lies
# between and for what comes.
SHIPPED = ("80+PTX", "90+PTX", "100", "120")
# Whose PTX an architecture's machine code is made from, where not its own: the kernels ask nothing of 10.0 and 12.0
# that 9.0 has not, and to make PTX takes longer than to make machine code of it. The backward of memory_project spills
# registers on 12.0 where it is made of that.
PTX_OF = {"100": "90", "120": "90"}
PTX_OF_PROJECT = {"120": "100"}
SEARCHED = "CUDA_HOME, CUDA_PATH, the folder of nvcc, /usr/local/cuda"


class NoToolkit(RuntimeError):
    """CUDA code cannot be compiled here; the message says why."""


@dataclass(frozen=True)
class Toolkit:
    """A folder with nvcc, its headers and the static runtime."""

    home: Path
    libraries: Path

    @property
    def nvcc(self) -> Path:
        return self.home / "bin" / "nvcc"

    @property
    def version(self) -> str:
        """``13.0``, as nvcc says."""
        return _version(self.nvcc)

    def knows(self) -> tuple[int, ...]:
        """Architectures, ascending: 80, 90, 100 ..."""
        return _known(self.nvcc)


def find() -> Toolkit | None:
    """The first whole toolkit of :data:`SEARCHED`; None: there is none."""
    on_path = shutil.which("nvcc")
    places = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    places += [str(Path(on_path).resolve().parents[1]) if on_path else None, "/usr/local/cuda"]
    for place in places:
        found = _whole(Path(place)) if place else None
        if found is not None:
            return found
    return None


def _whole(home: Path) -> Toolkit | None:
    """An nvcc alone is not enough: it may be a shim, with headers and libraries elsewhere."""
    if not (home / "bin" / "nvcc").is_file() or not (home / "include" / "cuda_runtime.h").is_file():
        return None
    for libraries in (home / "lib64", home / "lib", *sorted(home.glob("targets/*/lib"))):
        if (libraries / "libcudart_static.a").is_file():
            return Toolkit(home, libraries)
    return None


@functools.lru_cache
def _version(nvcc: Path) -> str:
    release = re.search(r"release ([0-9.]+)", _output(nvcc, "--version"))
    return release[1] if release else "unknown"


@functools.lru_cache
def _known(nvcc: Path) -> tuple[int, ...]:
    return tuple(sorted(int(code) for code in re.findall(r"sm_(\d+)\b", _output(nvcc, "--list-gpu-code"))))


def _output(nvcc: Path, flag: str) -> str:
    try:
        done = subprocess.run([str(nvcc), flag], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoToolkit(f"{nvcc} cannot be run ({error})") from error
    return done.stdout


def devices() -> tuple[tuple[int, int], ...]:
    """Compute capabilities of the GPUs that torch sees."""
    if torch.version.cuda is None or not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))


def architectures(toolkit: Toolkit, here: tuple[tuple[int, int], ...] = ()) -> tuple[str, ...]:
    """What to compile for: ``MEMGAN_CUDA_ARCHS``, or the devices ``here``, or what a library for all machines holds.

    Each is written as torch writes it, without the dot: ``90``, or ``90+PTX`` for its PTX too.
    """
    chosen = os.environ.get("MEMGAN_CUDA_ARCHS")
    known = toolkit.knows()
    if chosen:
        names = tuple(re.split(r"[\s,;]+", chosen.replace(".", "").strip()))
        for name in names:
            if not re.fullmatch(r"\d+[af]?(\+PTX)?", name):
                raise NoToolkit(
                    f"MEMGAN_CUDA_ARCHS must be like '80 90 120+PTX', got {chosen!r}; {toolkit.nvcc} knows "
                    f"{', '.join(map(str, known))}"
                )
        return names
    if here:
        return tuple(sorted({_best_for(major * 10 + minor, known) for major, minor in here}))
    return tuple(name for name in SHIPPED if int(name.removesuffix("+PTX")) in known)


def _best_for(wanted: int, known: tuple[int, ...]) -> str:
    """Machine code for the device, or the newest PTX that it can compile."""
    older = [code for code in known if code <= wanted]
    if not older:
        raise NoToolkit(f"a device of sm_{wanted} is older than all that this nvcc compiles for")
    return str(wanted) if wanted in known else f"{older[-1]}+PTX"


def flags(names: tuple[str, ...], source: str = "") -> list[str]:
    """nvcc's words for them, where it compiles ``source``: a file's stem."""
    ptx_of = PTX_OF_PROJECT if source == "project_cuda" else PTX_OF
    told = []
    for name in names:
        code = name.removesuffix("+PTX")
        told.append(f"-gencode=arch=compute_{ptx_of.get(code, code)},code=sm_{code}")
        if name != code:
            told.append(f"-gencode=arch=compute_{code},code=compute_{code}")
    return told


def runs_on(names: tuple[str, ...], capability: tuple[int, int]) -> bool:
    """Whether a library of these architectures has code for a device."""
    wanted = capability[0] * 10 + capability[1]
    for name in names:
        match = re.fullmatch(r"(\d+)([af]?)(\+PTX)?", name)
        assert match is not None
        code = int(match[1])
        if match[2]:  # of one architecture alone, and its PTX too
            fits = code == wanted
        else:
            fits = code <= wanted and (code // 10 == wanted // 10 or match[3] is not None)
        if fits:
            return True
    return False
