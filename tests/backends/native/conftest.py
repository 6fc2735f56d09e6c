"""The kernels, built once for all test processes, or a skip that says why there are none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import memgan
from memgan.backends import native


@pytest.fixture(autouse=True)
def _kernels() -> Iterator[None]:
    """Every test here runs on the kernels; MEMGAN_REQUIRE_NATIVE=1 forbids to skip them."""
    reason = native.unavailable_reason()
    if reason is not None:
        if os.environ.get("MEMGAN_REQUIRE_NATIVE") == "1":
            pytest.fail(f"MEMGAN_REQUIRE_NATIVE=1, but {reason}")
        pytest.skip(f"no native kernels: {reason}")
    with memgan.use_backend("native"):
        yield
