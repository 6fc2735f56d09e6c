"""Read the release's Python 2 pickles without running anything that they say.

A pickle is a program. This reader knows plain containers, text, numbers and numpy arrays; a pickle that names
anything else is refused, by name and by its place in the file, and nothing that it names is run.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference_models.dmgan.errors import DataError

# What a pickled numpy array or scalar names; each is data only. numpy moved its core; old and new names are one.
_NUMPY = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}
_PLAIN = {
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): dict,
}
_BYTES = ("_codecs", "encode")
_CODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}


def read_pickle(path: Path | str) -> Any:
    """The plain data that ``path`` holds; text of Python 2 is read as Latin-1, as the release wrote it.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is truncated or damaged, or names something that is not plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    content = path.read_bytes()
    try:
        return _Restricted(content, path).load()
    except Exception as error:  # a damaged pickle makes the reader stumble in any way at all
        _refuse_calls(content, path)
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or damaged: {type(error).__name__}: {error}") from error


def _refuse_calls(content: bytes, path: Path) -> None:
    """Find the place of the first name that is not plain data: walk the opcodes, which runs nothing.

    Only where the reader stumbled: in Python, six million opcodes of captions take seconds.
    """
    texts: list[str] = []  # STACK_GLOBAL takes its module and name from the two latest
    memo: dict[int, str | None] = {}
    pushed: str | None = None
    try:
        for opcode, argument, position in _opcodes(content):
            if opcode.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
                memo[len(memo) if opcode.name == "MEMOIZE" else int(argument)] = pushed
                continue
            pushed = argument if isinstance(argument, str) else None
            if opcode.name in ("GET", "BINGET", "LONG_BINGET"):
                pushed = memo.get(int(argument))
            elif opcode.name in ("GLOBAL", "INST"):
                module, _, name = str(argument).partition(" ")
                _check(module, name, position, path)
                pushed = None
            elif opcode.name == "STACK_GLOBAL":
                module, name = texts[-2:] if len(texts) > 1 else ("?", "?")
                _check(module, name, position, path)
            elif opcode.name in ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"):
                raise DataError(f"{path} is refused: {opcode.name} at byte {position} is not plain data")
            if pushed is not None:
                texts.append(pushed)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or damaged: {error}") from error


def _opcodes(content: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int]]:
    """``pickletools.genops``, which takes the text of protocol 0 for ASCII; Python 2's is not."""
    stream = io.BytesIO(content)
    while True:
        position = stream.tell()
        code = stream.read(1)
        if code not in _CODES:
            what = f"{code!r}, which is no opcode" if code else "the end of the file"
            raise ValueError(f"at byte {position} stands {what}")
        opcode = _CODES[code]
        argument = None
        if opcode.name == "STRING":
            argument = pickletools.read_stringnl(stream, decode=False).decode("latin1")
        elif opcode.arg is not None:
            argument = opcode.arg.reader(stream)
        yield opcode, argument, position
        if opcode.name == "STOP":
            return


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise DataError(f"bytes of a pickle must be Latin-1, got {encoding!r}")
    return text.encode("latin1")


def _check(module: str, name: str, position: int | None, path: Path) -> None:
    if (module, name) not in (_BYTES, *_NUMPY, *_PLAIN):
        where = "" if position is None else f"at byte {position} "
        raise DataError(
            f"{path} is refused: {where}it names {module}.{name}, which is not plain data. "
            "A pickle can run any code; this one was not run."
        )


class _Restricted(pickle.Unpickler):
    """The standard reader, given nothing that acts."""

    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        # The guard itself: the names are what the reader understood, and nothing is imported before this.
        _check(module, name, None, self._path)
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if (module, name) == _BYTES:
            return _latin1
        import numpy
        from numpy._core import multiarray

        return getattr(numpy if module == "numpy" else multiarray, name)

    def persistent_load(self, pid: Any) -> Any:
        raise DataError(f"{self._path} is refused: it refers to something outside itself ({pid!r})")
