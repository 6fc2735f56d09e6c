"""Whole runs to which something happens: each says what it was, and what was saved can be gone on from."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reference_models.dmgan.training.checkpoint import checkpoints, load_checkpoint
from tests.reference_models.dmgan.training.conftest import ROOT, TINY, command, run

PATIENCE = 100  # seconds; a run that hangs is a failure


def begin(*options: object, processes: int = 1, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*options, processes=processes),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,  # type: ignore[call-overload]
    )


def wait_for(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def children(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


@pytest.fixture
def endless(encoders_folder: Path, tmp_path: Path) -> list[object]:
    """A run of millions of steps with two processes that prepare its images."""
    options = ["--train.images", "4000000", "--train.checkpoint-every", "2", "--data.workers", "2"]
    return ["train", *TINY, "--encoders", encoders_folder, "--out", tmp_path / "run", *options]


def test_a_killed_worker_stops_the_run_with_a_sentence(endless: list[object], tmp_path: Path) -> None:
    process = begin(*endless)
    wait_for(lambda: checkpoints(tmp_path / "run" / "checkpoints"))
    os.kill(children(process)[0], signal.SIGKILL)
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, told
    # Not always the last line: the other worker may tell on its own that the run no longer listens to it.
    sentence = r"train: (process [\d, ]+, which|a process that) prepared images.* --resume goes on"
    assert re.search(sentence, told), told  # the loader heard of the death, or felt it
    assert load_checkpoint(checkpoints(tmp_path / "run" / "checkpoints")[-1])["step"] % 2 == 0


def test_sigterm_to_all_processes_of_a_run_still_saves(endless: list[object], tmp_path: Path) -> None:
    """A scheduler that takes a machine back tells every process, the workers too."""
    process = begin(*endless, start_new_session=True)
    wait_for(lambda: checkpoints(tmp_path / "run" / "checkpoints"))
    os.killpg(process.pid, signal.SIGTERM)
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert "--resume goes on" in told
    stopped = int(told.split("stopped after step ")[1].split()[0])
    assert load_checkpoint(checkpoints(tmp_path / "run" / "checkpoints")[-1])["step"] == stopped


def test_sigterm_to_torchrun_and_its_ranks_still_saves(endless: list[object], tmp_path: Path) -> None:
    """Each rank is told twice: by the scheduler and by torchrun."""
    process = begin(*endless, "--data.workers", "0", processes=2, start_new_session=True)
    wait_for(lambda: checkpoints(tmp_path / "run" / "checkpoints"))
    os.killpg(process.pid, signal.SIGTERM)
    told, _ = process.communicate(timeout=PATIENCE)
    assert told.count("--resume goes on") == 1, told
    stopped = int(told.split("stopped after step ")[1].split()[0])
    assert load_checkpoint(checkpoints(tmp_path / "run" / "checkpoints")[-1])["step"] == stopped


def test_a_disk_that_fills_up_stops_the_run_and_keeps_what_was_saved(
    encoders_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = ["train", *TINY, "--encoders", encoders_folder, "--out", out]
    assert run(*options, "--train.images", "8").returncode == 0
    saved = checkpoints(out / "checkpoints")
    room = saved[-1].stat().st_size // 2  # for half a checkpoint: the system refuses what is written beyond
    process = begin(
        *options,
        "--train.images",
        "16",
        "--resume",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, told
    last = told.strip().splitlines()[-1]
    assert "the checkpoint of step 4 cannot be written to" in last
    assert f"the last checkpoint is {saved[-1]}" in last
    assert sorted((out / "checkpoints").iterdir()) == saved
    assert run(*options, "--train.images", "16", "--resume").returncode == 0
    assert [path.name[:13] for path in checkpoints(out / "checkpoints")][-1] == "step_00000004"


def test_a_folder_that_cannot_be_written_is_named(encoders_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run("train", *TINY, "--encoders", encoders_folder, "--out", tmp_path / "file" / "run")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("train: ")
    assert "Not a directory" in done.stderr
    assert "file/run" in done.stderr
