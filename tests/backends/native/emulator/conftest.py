"""What runs emulated needs a C++ compiler and nothing that was built before."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from memgan.backends.native import build
from tests.backends.native.emulator import driver


@pytest.fixture(autouse=True)
def _kernels() -> None:
    """No kernel of this machine is needed: this stands for the fixture of the folder above."""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels, the driver and the emulator in one program."""
    if build.compiler() is None:
        if os.environ.get("MEMGAN_REQUIRE_NATIVE") == "1":
            pytest.fail(f"MEMGAN_REQUIRE_NATIVE=1, but {build.NoCompiler()}")
        pytest.skip(f"no emulated kernels: {build.NoCompiler()}")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # by the workers of this run alone
    folder, ready = shared / "emulated", shared / "emulated" / "ready"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            driver.compiled(folder)
            ready.touch()
    return folder / "driver"
