"""Checkpoints: whole or not at all, checked when read, the last few kept.

A checkpoint is ``step_<step>-<first 16 digits of its sha256>.pt``: its own name says what its bytes must be, so a
rename is the only moment at which it appears, and a damaged one is recognised without another file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.files import flush_folder

LOG = logging.getLogger(__name__)
_NAME = re.compile(r"step_(\d{8})-([0-9a-f]{16})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], *, keep: int = 3) -> Path:
    """Write ``state`` (tensors and plain values) for ``step`` and drop all but the last ``keep`` checkpoints.

    The file is written under a temporary name, flushed to the disk and renamed; older ones go only after that. One
    process at a time may write to ``folder``.

    Raises:
        CheckpointError: the disk is full, or cannot be written; the earlier checkpoints stand.
    """
    temporary = folder / f".step_{step:08d}.{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".step_*.partial"):  # by a killed process: as large as a checkpoint
            left.unlink(missing_ok=True)
        try:
            with open(temporary, "wb") as file:
                _serialise(state, file)
                file.flush()
                os.fsync(file.fileno())
            path = folder / f"step_{step:08d}-{_digest(temporary)}.pt"
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(folder)
        _drop(folder, path, keep)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint of step {step} cannot be written to {folder}: {error.strerror or error}"
        ) from error
    return path


def _serialise(state: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(state, file)
    except (
        RuntimeError
    ) as error:  # where a write fails, torch raises another error while it closes its archive
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def _drop(folder: Path, newest: Path, keep: int) -> None:
    """Keep ``newest`` and the ``keep - 1`` before it. Later ones are what a resumed run passed over as damaged."""
    others = [path for path in checkpoints(folder) if path != newest]
    later = [path for path in others if path.name[:13] >= newest.name[:13]]
    for path in later:
        if _is_damaged(path):
            path.unlink(missing_ok=True)
    earlier = others[: len(others) - len(later)]
    for path in earlier[: max(0, len(earlier) - max(0, keep - 1))]:
        path.unlink(missing_ok=True)


def checkpoints(folder: Path) -> list[Path]:
    """The folder's checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step_*.pt") if _NAME.fullmatch(path.name))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read one checkpoint.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: its bytes are not those that were written, or it holds more than tensors and values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise CheckpointError(f"{path}: a checkpoint is called step_<8 digits>-<16 digits>.pt")
    try:
        found = _digest(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if found != match[2]:
        raise CheckpointError(f"{path} is damaged: its sha256 begins {found}, its name says {match[2]}")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as tensors and plain values ({error})") from error


def latest_checkpoint(folder: Path, device: torch.device | str = "cpu") -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole; damaged ones are named and passed over. None: there is no checkpoint.

    Raises:
        CheckpointError: there are checkpoints and every one is damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return path, load_checkpoint(path, device)
        except CheckpointError as error:
            LOG.warning("%s; taking the one before it", error)
    if found:
        raise CheckpointError(f"all {len(found)} checkpoints in {folder} are damaged")
    return None


def seed_everything(seed: int) -> None:
    """Seed every random generator of this process: torch's, and those that a library may use."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (a library may use it)
    random.seed(seed)


def random_state() -> dict[str, Any]:
    """The state of every random generator of this process, as tensors and plain values."""
    version, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002  (a library may use it)
    python_version, python_state, python_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [version, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "python": [python_version, list(python_state), python_gauss],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """The inverse of :func:`random_state`."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([value.cpu() for value in state["cuda"]])
    version, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((version, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    python_version, python_state, python_gauss = state["python"]
    random.setstate((python_version, tuple(python_state), python_gauss))


def _is_damaged(path: Path) -> bool:
    return _digest(path) != path.name[14:30]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
