"""Reading state dicts that other programs wrote: tensors only, whole files only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from reference_models.dmgan.errors import CheckpointError


def read_state_file(path: str | Path, what: str) -> dict[str, Tensor]:
    """The state dict that ``torch.save`` wrote to ``path``; ``what`` names the network in messages.

    Read with ``weights_only=True``: a file that holds anything but plain tensors is refused, never run.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is truncated, damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {what} checkpoint at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        _check_kind(path, what)
        raise CheckpointError(
            f"{path} is refused: not a plain {what} state dict, or damaged ({_told(error)})"
        ) from error
    except Exception as error:  # a damaged file makes the unpickler stumble in any way at all
        _check_kind(path, what)
        raise CheckpointError(f"{path} is truncated or damaged ({_told(error)})") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a {what}'s state dict")
    return check_state(state, what, str(path))


def _check_kind(path: Path, what: str) -> None:
    """Another kind of file than ``torch.save`` writes, a zip archive or a pickle, is told as such."""
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith((b"PK", b"\x80")):
        return
    kind = "a safetensors file" if start[8:] == b"{" else "not a file that torch.save wrote"
    raise CheckpointError(f"{path} is {kind}: expected a {what}'s state dict, as torch.save writes it")


def check_state(state: Mapping[str, Tensor], what: str, where: str) -> dict[str, Tensor]:
    """``state`` as a dict, after making sure that it maps names to tensors."""
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{where}: a {what}'s state dict maps names to tensors, but {key!r} is {type(value).__name__}"
            )
    return dict(state)


def read_facts(path: Path) -> dict[str, Any]:
    """The JSON object that stands beside a weight file; one that is damaged is a CheckpointError that names it."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise CheckpointError(f"{path} is truncated or damaged ({error})") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path} holds a {type(facts).__name__}, not an object")
    return facts


def sha256(path: str | Path) -> str:
    """The file's sha256, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _told(error: Exception) -> str:
    """The exception's first sentence that says something; torch's advice behind it is left out."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if "WeightsUnpickler error" in line]
    return (reasons or lines or [type(error).__name__])[0].split(". ")[0].rstrip(".")
