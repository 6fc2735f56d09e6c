"""memgan's errors. Each is also the builtin that a caller would expect.

::

    MemganError(Exception)
    ├── ShapeError(ValueError)            sizes disagree; the message names the argument
    ├── DtypeError(TypeError)             a dtype that the argument cannot have, or no tensor
    ├── DeviceError(ValueError)           tensors on different devices
    └── BackendUnavailable(RuntimeError)  a backend was forced and cannot run; the message says why
"""

from __future__ import annotations


class MemganError(Exception):
    """Base of every error that memgan raises on purpose.

    >>> import torch, memgan
    >>> try:
    ...     memgan.DynamicMemory(4, 6)(torch.zeros(2, 4, 8, 8), torch.zeros(2, 6, 5))
    ... except memgan.MemganError as error:
    ...     print(type(error).__name__, "|", error)
    ShapeError | DynamicMemory: `words` must be (B, L, E) = (2, any, 6), got (2, 6, 5).
    """


class ShapeError(MemganError, ValueError):
    """Sizes disagree. The message names the argument, what was expected and what came."""


class DtypeError(MemganError, TypeError):
    """An argument has a dtype that it cannot have, or is no tensor."""


class DeviceError(MemganError, ValueError):
    """Two arguments are on different devices."""


class BackendUnavailable(MemganError, RuntimeError):
    """A backend was asked for by name and cannot run. The message says why and what mends it."""
