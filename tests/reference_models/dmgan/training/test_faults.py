"""What happens to long runs: full disks, calls that fail, killed workers. Nothing is lost, and a sentence says so."""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_models.dmgan.errors import CheckpointError, DataError, TrainingStopped
from reference_models.dmgan.training import checkpoint
from reference_models.dmgan.training.checkpoint import checkpoints, latest_checkpoint, save_checkpoint
from reference_models.dmgan.training.faults import explained, explanation

# What a save asks of the system: (where it is looked up, its name there).
CALLS = [
    (os, name)
    for name in ("fsync", "replace", "open", "close", "unlink", "mkdir", "scandir")
    if hasattr(os, name)
]


class Calls:
    """Counts the calls of a save, and makes call number ``fails`` fail with a full disk."""

    def __init__(self, fails: int = -1) -> None:
        self.fails, self.made = fails, list[str]()

    def made_one(self, name: str) -> None:
        self.made.append(name)
        if len(self.made) - 1 == self.fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    def counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.made_one(name)
            return real(*arguments, **options)

        return call

    def opened(self, path: Path, mode: str) -> Any:
        self.made_one(f"open for {mode}")
        return _File(builtins.open(path, mode), self)


class _File:
    """An open file whose every write, flush and close counts."""

    def __init__(self, file: Any, calls: Calls) -> None:
        self._file, self._calls = file, calls

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._calls.made_one("close a file")

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._file, name)
        return self._calls.counted(name, real) if name in {"write", "flush", "readinto"} else real


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": {str(n): torch.full((30, 30), float(step)) for n in range(3)}}


@pytest.fixture
def patched() -> Iterator[Callable[[Calls], pytest.MonkeyPatch]]:
    patches = []

    def patch(calls: Calls) -> pytest.MonkeyPatch:
        made = pytest.MonkeyPatch()
        patches.append(made)
        for module, name in CALLS:
            made.setattr(module, name, calls.counted(name, getattr(module, name)))
        made.setattr(checkpoint, "open", calls.opened, raising=False)
        return made

    yield patch
    for made in patches:
        made.undo()


def test_a_save_flushes_before_it_renames_and_drops_after_both(
    patched: Callable[[Calls], pytest.MonkeyPatch], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, 1, state(1))
    calls = Calls()
    patch = patched(calls)
    save_checkpoint(tmp_path, 2, state(2), keep=1)
    patch.undo()
    names = calls.made
    flushes = [place for place, name in enumerate(names) if name == "fsync"]
    renamed, dropped = names.index("replace"), len(names) - 1 - names[::-1].index("unlink")
    assert len(flushes) == 2, "the file, and its folder"
    assert flushes[0] < renamed < flushes[1] < dropped


def test_whatever_call_of_a_save_fails_a_whole_checkpoint_is_found(
    patched: Callable[[Calls], pytest.MonkeyPatch], tmp_path: Path
) -> None:
    place, found_steps = 0, list[int]()
    while True:
        folder = tmp_path / str(place)
        save_checkpoint(folder, 1, state(1), keep=1)
        calls = Calls(place)
        patch = patched(calls)
        try:
            save_checkpoint(folder, 2, state(2), keep=1)
            ended = place >= len(calls.made)
        except CheckpointError as error:
            ended = False
            assert "the checkpoint of step 2 cannot be written to" in str(error)  # noqa: PT017  (in a loop)
            assert "No space left on device" in str(error)  # noqa: PT017
        finally:
            patch.undo()
        found = latest_checkpoint(folder)
        assert found is not None
        assert all((value == found[1]["step"]).all() for value in found[1]["weights"].values())
        if ended:
            break
        found_steps.append(found[1]["step"])
        save_checkpoint(folder, 3, state(3), keep=1)
        assert [path.name[:13] for path in folder.iterdir()] == ["step_00000003"]
        place += 1
    assert place > 20
    assert set(found_steps) == {1, 2}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_stops_the_run_and_keeps_the_last_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = save_checkpoint(tmp_path, 1, state(1))

    def full(
        path: Path, mode: str
    ) -> Any:  # writes go to a device that is always full: the error is the system's
        return builtins.open("/dev/full" if "w" in mode else path, mode)

    monkeypatch.setattr(checkpoint, "open", full, raising=False)
    large = {"weights": torch.zeros(1_000_000)}
    with (
        pytest.raises(
            TrainingStopped, match="checkpoint of step 2 cannot be written .*No space left"
        ) as told,
        explained(tmp_path),
    ):
        save_checkpoint(tmp_path, 2, large)
    assert f"the last checkpoint is {first}, and the same command with --resume goes on" in str(told.value)
    assert list(tmp_path.iterdir()) == [first]


def test_what_a_killed_save_left_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".step_00000007.12345.partial").write_bytes(b"half")
    path = save_checkpoint(tmp_path, 8, state(8))
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_later_checkpoint_takes_no_place_of_a_whole_one(tmp_path: Path) -> None:
    """A run that passed over a damaged checkpoint saves on: its own must be what is kept and found."""
    for step in (1, 2, 9):
        save_checkpoint(tmp_path, step, state(step))
    damaged = checkpoints(tmp_path)[-1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    saved = save_checkpoint(tmp_path, 3, state(3), keep=1)
    assert list(tmp_path.iterdir()) == [saved]


def test_a_whole_later_checkpoint_is_never_dropped(tmp_path: Path) -> None:
    later = save_checkpoint(tmp_path, 9, state(9))
    saved = save_checkpoint(tmp_path, 3, state(3), keep=1)
    assert checkpoints(tmp_path) == [saved, later]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/log"), "the disk is full (/x/log)"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (
            RuntimeError("DataLoader worker (pid 71) is killed by signal: Killed. "),
            "process 71, which prepared images, is killed by signal: Killed",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 71, 72) exited unexpectedly"),
            "process 71, 72, which prepared images, exited unexpectedly",
        ),
        (
            DataError(
                "Caught DataError in DataLoader worker process 0.\nOriginal\n  File\nx.DataError: a: b\n"
            ),
            "a: b",
        ),
        # Of a worker that died while it handed over images: the loader may meet this before it hears of the death.
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            "a process that prepared images",
        ),
        (EOFError(), "a process that prepared images has died: often memory ran out"),
        (RuntimeError("received 0 items of ancdata"), "a process that prepared images has died"),
        (
            RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:81"),
            "another process of this run",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            "the GPU's memory is full: add --train.checkpoint-activations",
        ),
    ],
)
def test_trouble_is_told_in_a_sentence_with_the_way_on(
    error: Exception, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingStopped) as told, explained(tmp_path):
        raise error
    assert str(told.value).startswith(sentence)
    assert str(told.value).endswith("no checkpoint had been written yet, so the run begins anew")
    assert told.value.__cause__ is error


def test_a_programming_error_is_not_explained_away(tmp_path: Path) -> None:
    assert explanation(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    with pytest.raises(RuntimeError, match="mat1"), explained(tmp_path):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
