"""The only place that chooses a backend.

``auto`` takes the fused kernel where one can run and the definition elsewhere, ``native`` insists on the kernel
and says why it cannot run, ``reference`` always calls the definition.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any, cast, get_args

import torch

from memgan.backends import reference
from memgan.errors import BackendUnavailable
from memgan.types import BackendName

OPS = ("memory_write", "memory_project", "memory_read", "memory_respond", "memory_refine", "norm_glu")
FIX = (
    "`python -m memgan.doctor` lists what is missing; memgan.use_backend('auto') falls back to plain PyTorch"
)


class _State:
    """What the process chose. One object, so that a trace guards on its attributes."""

    backend: BackendName = "auto"


def _checked(name: str, source: str) -> BackendName:
    if name not in get_args(BackendName):
        raise ValueError(f"{source} must be one of {', '.join(get_args(BackendName))}, got {name!r}")
    return cast(BackendName, name)


_State.backend = _checked(
    os.environ.get("MEMGAN_BACKEND") or "auto", "the environment variable MEMGAN_BACKEND"
)


def _native() -> ModuleType | str:
    """The module of the fused kernels, or the sentence that says why there is none."""
    return _NATIVE


def _import_native() -> ModuleType | str:
    try:
        return importlib.import_module("memgan.backends.native")
    except ImportError as error:
        return f"the native backend cannot be imported: {error}"


# Imported once, here: an import inside `call` would break the graph of torch.compile. It loads no library.
_NATIVE = _import_native()


def unsupported_reason(op: str, *args: Any, **kwargs: Any) -> str | None:
    """Why the fused kernel of ``op`` cannot run on this input; None if it can."""
    native = _native()
    if isinstance(native, str):
        return native
    if not hasattr(native, op):
        return f"{op} has no fused kernel"
    if torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        return "torch.func inside of torch.compile takes the definition, which the compiler can follow"
    return cast("str | None", native.unsupported_reason(op, *args, **kwargs))


def prefers_definition() -> bool:
    """Whether the process asked for the definition, for ops that choose between forms of their own."""
    return _State.backend == "reference"


def falls_back(reason: str) -> bool:
    """Whether ``native``, forced, takes the definition all the same: where an op has no kernel to insist on."""
    return reason.endswith("has no fused kernel")


def call(op: str, *args: Any, **kwargs: Any) -> Any:
    """Run ``op`` on the backend that the process chose."""
    if _State.backend == "reference":
        return getattr(reference, op)(*args, **kwargs)
    reason = unsupported_reason(op, *args, **kwargs)
    if reason is None:
        return getattr(_native(), op)(*args, **kwargs)
    if _State.backend == "native" and not falls_back(reason):
        raise BackendUnavailable(f"{op}: backend 'native' was forced but cannot run: {reason}. {FIX}.")
    return getattr(reference, op)(*args, **kwargs)


class use_backend:
    """Choose how ops are computed: ``"auto"``, ``"reference"`` or ``"native"``.

    Called plainly it holds from then on; as a context manager it holds inside the block. The choice is the whole
    process's, all of its threads'. The environment variable ``MEMGAN_BACKEND`` sets the first one.

    Raises:
        ValueError: another name.
        BackendUnavailable: ``"native"``, where no fused kernel can be loaded; the message says why.

    >>> import memgan
    >>> with memgan.use_backend("reference"):
    ...     memgan.explain_backends("memory_read").splitlines()[0]
    "chosen: 'reference'"
    """

    def __init__(self, name: BackendName) -> None:
        self._before: BackendName | None = _State.backend
        self._left: list[BackendName] = []
        chosen = _checked(name, "`name`")
        if chosen == "native":
            native = _native()
            reason = native if isinstance(native, str) else native.unavailable_reason()
            if reason is not None:
                raise BackendUnavailable(f"backend 'native' cannot be used: {reason}. {FIX}.")
        self._chosen = _State.backend = chosen

    def __enter__(self) -> None:
        before = _State.backend
        if self._before is not None and before == self._chosen:  # as it was made, in the same line or before
            before = self._before
        self._before = None
        self._left.append(before)
        _State.backend = self._chosen

    def __exit__(self, *exception: object) -> None:
        _State.backend = self._left.pop()


def explain_backends(op: str | None = None, *args: Any, **kwargs: Any) -> str:
    """Which backend each op would take, and why not a faster one.

    Args:
        op: one op's name, or None for all of them.
        args, kwargs: the op's own arguments; with them the answer is for exactly that call.

    Returns:
        One line an op and backend.

    Raises:
        ValueError: ``op`` is none of them.

    >>> print(explain_backends("memory_respond").splitlines()[1])
    memory_respond: reference: runs everywhere
    """
    if op is not None and op not in OPS:
        raise ValueError(f"`op` must be one of {', '.join(OPS)}, got {op!r}")
    lines = [f"chosen: {_State.backend!r}"]
    for name in OPS if op is None else (op,):
        lines.append(f"{name}: reference: runs everywhere")
        lines.append(f"{name}: native: {unsupported_reason(name, *args, **kwargs) or 'can run'}")
    return "\n".join(lines)
