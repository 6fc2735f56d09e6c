"""A kill at any system call of a save leaves a whole checkpoint, and the run goes on from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed_while_saving.py")
ROOT = Path(__file__).parents[4]


@pytest.mark.skipif(sys.platform != "linux", reason="traces system calls with Linux's ptrace")
def test_a_kill_at_any_system_call_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    if "not_allowed" in seen:
        pytest.skip("this machine does not let a process trace its own child")
    # Before the rename the old one is found, after it the new one, whether or not the old one is gone already.
    assert set(seen["checkpoints"]) == {"step 1, 1 files", "step 2, 2 files", "step 2, 1 files"}
    assert sum(seen["checkpoints"].values()) > 40
    assert set(seen["files"]) == {"befor", "after"}
    assert min(seen["files"].values()) > 1
