"""Kill a process at every system call of a save; run by test_killed_while_saving.py as a program of its own.

The child asks to be traced (``ptrace``, Linux), so that this process sees it enter and leave each system call and
can kill it right there. Prints one JSON line: at how many places it was killed, and what was found afterwards.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.training.checkpoint import checkpoints, latest_checkpoint, save_checkpoint

TRACE_ME, NEXT_SYSTEM_CALL = 0, 24
NOT_ALLOWED = 99
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def killed_at(place: int, act: Callable[[], object]) -> bool:
    """Run ``act`` in a child and kill it at its system call number ``place``. False: it ended before."""
    child = os.fork()
    if child == 0:
        if LIBC.ptrace(TRACE_ME, 0, None, None) != 0:
            os._exit(NOT_ALLOWED)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            act()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    seen = 0
    while os.WIFSTOPPED(status) and seen < place:
        LIBC.ptrace(NEXT_SYSTEM_CALL, child, None, None)
        _, status = os.waitpid(child, 0)
        seen += 1
    if os.WIFSTOPPED(status):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True
    if os.WEXITSTATUS(status) == NOT_ALLOWED:
        print(json.dumps({"not_allowed": True}))
        raise SystemExit(0)
    assert os.WEXITSTATUS(status) == 0, f"the save failed at place {place}"
    return False


def state(step: int) -> dict:
    return {"step": step, "weights": {str(n): torch.full((40, 40), float(step)) for n in range(3)}}


def kill_checkpoints(folder: Path) -> Counter[str]:
    """Checkpoint 2 replaces checkpoint 1, the only one kept."""
    outcomes: Counter[str] = Counter()
    for place in range(100_000):
        for path in [*folder.glob("*"), *folder.glob(".step*")]:
            path.unlink()
        save_checkpoint(folder, 1, state(1), keep=1)
        if not killed_at(place, lambda: save_checkpoint(folder, 2, state(2), keep=1)):
            break
        found = latest_checkpoint(folder)
        assert found is not None, f"no checkpoint is left after a kill at place {place}"
        read = found[1]
        assert all((value == read["step"]).all() for value in read["weights"].values())
        outcomes[f"step {read['step']}, {len(checkpoints(folder))} files"] += 1
        save_checkpoint(folder, 3, state(3), keep=1)  # the run goes on, and leaves nothing behind
        names = [path.name[:13] for path in [*folder.iterdir()]]
        assert names == ["step_00000003"], names
    return outcomes


def kill_files(path: Path) -> Counter[str]:
    """A file is replaced by another."""
    outcomes: Counter[str] = Counter()

    def write(text: str) -> None:
        with write_atomically(path) as temporary:
            temporary.write_text(text)

    for place in range(100_000):
        write("before" * 100)
        if not killed_at(place, lambda: write("after" * 100)):
            break
        text = path.read_text()
        assert text in ("before" * 100, "after" * 100), f"half a file after a kill at place {place}"
        outcomes[text[:5]] += 1
    return outcomes


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    print(json.dumps({"checkpoints": kill_checkpoints(place / "run"), "files": kill_files(place / "file")}))
