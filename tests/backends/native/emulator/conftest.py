"""What runs emulated needs a C++ compiler and nothing that was built before."""

from __future__ import annotations

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
    return driver.compiled(tmp_path_factory.mktemp("emulator"))
