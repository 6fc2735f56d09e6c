"""Load the kernels' library: prebuilt beside this file, or built at first use, or not, with the reason kept."""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch

from memgan.backends.native import build, registration, toolkit

PREBUILT = Path(__file__).parent / build.NAME
CAPABILITIES = ("avx512", "avx2", "generic")  # as csrc/cpu/select.cpp knows them
_lock = threading.Lock()


@dataclass
class State:
    """What this process found. One object, so that a trace guards on its attributes."""

    tried: bool = False
    reason: str | None = None  # why there is no library
    error: BaseException | None = None  # what was raised, for the doctor
    path: Path | None = None
    origin: str = ""  # "prebuilt" or "built here"
    capability: str = ""  # the CPU's instruction set
    architectures: tuple[
        str, ...
    ] = ()  # of GPUs that the library holds code for, as MEMGAN_CUDA_ARCHS writes them
    without_cuda: str | None = None  # why it holds none
    runtime: int = 0  # the CUDA runtime inside, 13000 for 13.0
    driver: int = 0  # the newest runtime that the driver takes; 0: no driver
    most_words: int = 0  # that the CUDA kernels take
    of_device: dict[int, str | None] = field(default_factory=dict)  # answers of `device_reason`


STATE = State()


def load() -> str | None:
    """Load the library at the first call. None, or why there is none."""
    if not STATE.tried:
        with _lock:
            if not STATE.tried:
                try:
                    _load()
                finally:  # once, also where the warning is an error
                    STATE.tried = True
    return STATE.reason


def device_reason(index: int) -> str | None:
    """Why no kernel can run on the CUDA device ``index``, whatever the op; None: they can."""
    reason = load()
    if reason is not None:
        return reason
    if index not in STATE.of_device:
        STATE.of_device[index] = _device_reason(torch.cuda.get_device_capability(index))
    return STATE.of_device[index]


# A trace calls these for their results instead of tracing them: a library must be there before ops are looked up.
load._dynamo_marked_constant = True  # type: ignore[attr-defined]
device_reason._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _device_reason(capability: tuple[int, int]) -> str | None:
    if not STATE.architectures:
        return f"the library holds no CUDA kernels: {STATE.without_cuda}"
    if STATE.driver // 1000 < STATE.runtime // 1000:
        return (
            f"the driver takes CUDA {_dotted(STATE.driver)} at most, and the library's runtime is "
            f"{_dotted(STATE.runtime)}: a newer driver is needed, or a build with an older toolkit (CUDA_HOME)"
        )
    if not toolkit.runs_on(STATE.architectures, capability):
        wanted = "{}{}".format(*capability)
        return (
            f"the library holds code for {' '.join(STATE.architectures)}, and this device is of {wanted}: "
            f"build with MEMGAN_CUDA_ARCHS={wanted}"
        )
    return None


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _load() -> None:
    assert registration.LIBRARY is not None  # the ops exist before a kernel is registered for them
    try:
        if PREBUILT.is_file():
            STATE.path, STATE.origin = PREBUILT, "prebuilt"
            STATE.without_cuda = "it came prebuilt so"
        elif os.environ.get("MEMGAN_JIT", "1") == "0":
            STATE.reason = "no prebuilt library, and MEMGAN_JIT=0 forbids to build one"
            return
        else:
            STATE.path, STATE.without_cuda = build.build()
            STATE.origin = "built here"
        torch.ops.load_library(str(STATE.path))
        library = ctypes.CDLL(str(STATE.path))
        library.memgan_cpu_capability.restype = ctypes.c_char_p
        STATE.capability = library.memgan_cpu_capability().decode()
        if hasattr(library, "memgan_cuda_architectures"):
            library.memgan_cuda_architectures.restype = ctypes.c_char_p
            STATE.architectures = tuple(library.memgan_cuda_architectures().decode().split())
            STATE.most_words = library.memgan_cuda_most_words()
            STATE.runtime, STATE.driver = library.memgan_cuda_runtime(), library.memgan_cuda_driver()
    except build.NoCompiler as error:
        STATE.reason, STATE.error = str(error), error
    except (
        Exception
    ) as error:  # a library that does not fit fails in any way at all, and the definition is there
        told = (
            str(error) if isinstance(error, build.BuildError) else f"{STATE.path} cannot be loaded ({error})"
        )
        STATE.reason, STATE.error = told, error
        warnings.warn(f"memgan falls back to plain PyTorch: {told}", RuntimeWarning, stacklevel=2)
    else:
        _check_capability()


def _check_capability() -> None:
    """The library takes a name that it does not know for the slowest: say so."""
    wanted = os.environ.get("MEMGAN_CPU_CAPABILITY")
    if wanted and wanted not in CAPABILITIES:
        warnings.warn(
            f"MEMGAN_CPU_CAPABILITY must be one of {', '.join(CAPABILITIES)}, got {wanted!r}: the CPU kernels run as "
            f"{STATE.capability}",
            RuntimeWarning,
            stacklevel=2,
        )
