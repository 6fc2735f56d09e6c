"""Fixtures and settings that every test shares."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from memgan.backends import dispatch

settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _nothing_compiled_is_left() -> Iterator[None]:
    """torch compiles one function at most eight times a process: tests that share a worker must not add up."""
    yield
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


@pytest.fixture(autouse=True)
def _no_backend_is_left_chosen() -> Iterator[None]:
    """A choice outlives the test that made it, and would fail another one of the worker."""
    before = dispatch._State.backend
    yield
    assert dispatch._State.backend == before


@pytest.fixture(autouse=True, scope="session")
def _one_thread_a_worker() -> None:
    """Test workers share the cores: more threads than cores only makes them wait for each other."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, and say so."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device, and torch sees none")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
