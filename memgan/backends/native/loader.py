"""Load the kernels' library: prebuilt beside this file, or built at first use, or not, with the reason kept."""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from memgan.backends.native import build, registration

PREBUILT = Path(__file__).parent / build.NAME
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


# A trace calls this for its result instead of tracing it: a library must be there before ops are looked up.
load._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _load() -> None:
    assert registration.LIBRARY is not None  # the ops exist before a kernel is registered for them
    try:
        if PREBUILT.is_file():
            STATE.path, STATE.origin = PREBUILT, "prebuilt"
        elif os.environ.get("MEMGAN_JIT", "1") == "0":
            STATE.reason = "no prebuilt library, and MEMGAN_JIT=0 forbids to build one"
            return
        else:
            STATE.path, STATE.origin = build.build(), "built here"
        torch.ops.load_library(str(STATE.path))
        library = ctypes.CDLL(str(STATE.path))
        library.memgan_cpu_capability.restype = ctypes.c_char_p
        STATE.capability = library.memgan_cpu_capability().decode()
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
