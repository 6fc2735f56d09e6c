"""The protocol of a result: everything that changes a number although the images stay the same.

A result is a dictionary that can be written as JSON; ``result["protocol"]`` is a :class:`Protocol`. Numbers
of two protocols are never compared: :func:`compare` refuses and says which field differs.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import write_atomically


class ProtocolMismatch(DataError):
    """Two results were measured in different ways."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a result was measured; ``name``: ``embedded``, ``selection``, ``tf``, ``released``, ``folders``."""

    name: str
    extractors: dict[str, str] = field(default_factory=dict)  # role -> sha256 of the weight file
    extractor: str = ""  # its architecture and variant
    resize: str = ""  # from the image's own size to the extractor's
    normalisation: str = ""
    count: int = 0  # images scored
    reference_count: int = 0  # real images behind the reference
    reference_seed: int = 0
    reference_sha256: str = ""  # of the real side, where it is a folder: names and what lies under them
    split: str = ""
    seed: int = 0  # of noise, captions and distractors
    batch_size: int = 0  # matters where the mask mode is "release"
    mask_mode: Literal["aligned", "release", ""] = ""
    rounding: Literal["round", "truncate", ""] = ""
    file_format: str = "none"  # images scored from memory; else png or jpeg
    ema: bool = True
    max_words: int = 0  # 0: captions are not cut
    distractors: int = 0
    splits: int = 0
    answers: int = 0  # right answers to the captions that precision and recall of the gate are among; 0: none
    data: str = ""  # the data set and the version of its renderer

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


# How a model was run rather than measured: two models may differ here and still be compared.
FREE = frozenset({"batch_size"})
# What results of before do not say: it differs only where both do.
ADDED = frozenset({"reference_sha256"})


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """One phrase for each field in which two protocols (as dictionaries) differ; empty: comparable.

    The batch size counts only where an image depends on its batch neighbours (mask mode "release").
    """
    free = FREE if "release" not in (first.get("mask_mode"), second.get("mask_mode")) else frozenset()
    silent = {name for name in ADDED if not (first.get(name) and second.get(name))}
    return [
        f"{name} is {first.get(name)!r} and {second.get(name)!r}"
        for name in sorted(set(first) | set(second))
        if name not in free | silent and first.get(name) != second.get(name)
    ]


def compare(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float]:
    """Second minus first for every number that both results hold.

    Raises:
        ProtocolMismatch: their protocols differ; the message names each field and both values.
    """
    for result in (first, second):
        if "protocol" not in result or "scores" not in result:
            raise DataError("a result must hold `protocol` and `scores`: write it with `evaluate --out FILE`")
    found = differences(first["protocol"], second["protocol"])
    if found:
        raise ProtocolMismatch(f"these results cannot be compared: {'; '.join(found)}")
    left, right = flatten(first["scores"]), flatten(second["scores"])
    return {name: right[name] - left[name] for name in left if name in right}


def flatten(scores: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested scores → ``{"fid.value": 3.0}``; what is no number is left out."""
    flat: dict[str, float] = {}
    for name, value in scores.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[prefix + name] = float(value)
    return flat


def write_result(result: dict[str, Any], path: Path | str) -> None:
    """Write a result as JSON, whole or not at all; a score that is not finite is null: JSON has no other."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(_finite(result), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_result(path: Path | str) -> dict[str, Any]:
    """Read a result; a file that is none says so."""
    try:
        result = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if not isinstance(result, dict) or "protocol" not in result:
        raise DataError(f"{path}: not a result of `evaluate`: it has no `protocol`")
    return result
