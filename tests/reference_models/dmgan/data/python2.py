"""Pickles as Python 2's cPickle wrote the released ones: byte strings and classic opcodes, protocols 0 and 2.

Python 3 cannot write them: its own protocol 2 marks text as Unicode. Integers, strings, lists and dictionaries are
all that the release's files hold.
"""

from __future__ import annotations

import struct


def dumps(value: object, protocol: int = 2) -> bytes:
    """``pickle.dumps(value, protocol)`` of Python 2, text as Latin-1 byte strings."""
    if protocol not in (0, 2):
        raise ValueError(f"protocol must be 0 or 2, got {protocol}")
    body = _text(value) if protocol == 0 else _binary(value)
    return (b"\x80\x02" if protocol == 2 else b"") + body + b"."


def _text(value: object) -> bytes:
    if isinstance(value, str):
        return b"S" + repr(value.encode("latin1"))[1:].encode() + b"\n"
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, list):
        return b"(l" + b"".join(_text(one) + b"a" for one in value)
    if isinstance(value, dict):
        return b"(d" + b"".join(_text(key) + _text(one) + b"s" for key, one in value.items())
    raise TypeError(f"{type(value).__name__} is not in the released files")


def _binary(value: object) -> bytes:
    if isinstance(value, str):
        raw = value.encode("latin1")
        return (b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<i", len(raw))) + raw
    if isinstance(value, int):
        if 0 <= value < 256:
            return b"K" + bytes([value])
        return b"M" + struct.pack("<H", value) if 0 <= value < 65536 else b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_binary, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_binary(key) + _binary(one) for key, one in value.items()) + b"u"
    raise TypeError(f"{type(value).__name__} is not in the released files")
