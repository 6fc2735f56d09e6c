"""What befalls a long run, told in one sentence that ends with how to go on.

A full disk, a killed worker, a killed rank, a GPU without memory: each reaches Python as some OSError or RuntimeError
deep inside a library. :func:`explained` says which it was.
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from reference_models.dmgan.errors import CheckpointError, DataError, TrainingStopped
from reference_models.dmgan.training.checkpoint import checkpoints

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORKER = re.compile(r"DataLoader worker \(pid\S* ([\d, ]+)\) ([^.]+)")
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "NCCL")
PATIENCE = 60  # seconds that a worker is left to be stopped in an orderly way


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Run a block of a run whose checkpoints are in ``folder``.

    Raises:
        TrainingStopped: for what :func:`explanation` knows; the cause is chained. Other errors pass.
    """
    try:
        yield
    except (OSError, EOFError, RuntimeError, CheckpointError, DataError) as error:
        told = explanation(error)
        if told is None:
            raise
        raise TrainingStopped(f"{told}; {way_on(folder)}") from error


def explanation(error: BaseException) -> str | None:
    """What happened, in one sentence without a full stop; None: not one of the known troubles."""
    text = str(error)
    if "in DataLoader worker process" in text:  # the worker's own error, with its traceback as the message
        return text.strip().splitlines()[-1].split(": ", 1)[-1]
    if isinstance(error, (CheckpointError, DataError)):
        return text
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "the GPU's memory is full: add --train.checkpoint-activations, which changes no number, or begin anew with "
            "a lower --train.batch-size"
        )
    if worker := _WORKER.search(text):
        return (
            f"process {worker[1].strip()}, which prepared images, {worker[2].strip()}: often memory ran out, "
            "then lower --data.workers"
        )
    if (
        isinstance(error, (ConnectionError, EOFError)) or "ancdata" in text
    ):  # a lost rank is another RuntimeError
        return "a process that prepared images has died: often memory ran out, then lower --data.workers"
    if isinstance(error, OSError) and error.errno is not None:
        what = "the disk is full" if error.errno in _FULL else (error.strerror or text)
        return f"{what} ({error.filename})" if error.filename else what
    if isinstance(error, torch.distributed.DistError) or any(sign in text for sign in _LOST):
        return "another process of this run has died or does not answer: its own output says why"
    return None


def way_on(folder: Path) -> str:
    """Where the run stands on disk, and what to do."""
    found = checkpoints(folder)
    if not found:
        return "no checkpoint had been written yet, so the run begins anew"
    return f"the last checkpoint is {found[-1]}, and the same command with --resume goes on from it"


def outlive_signals(worker: int) -> None:
    """Let a loader's worker outlive Ctrl-C and SIGTERM, which a terminal or a scheduler sends to all processes.

    The training process still needs batches for the step after which it saves; it ends its workers itself. One that
    is not ended within a minute goes of its own accord.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda kind, frame: signal.alarm(PATIENCE))
