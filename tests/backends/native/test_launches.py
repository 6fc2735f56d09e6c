"""How many kernels a DynamicMemory starts on a GPU, counted without one.

What torch dispatches is the same on every device once it takes the fused ops, and each fused op's launches are counted
where the kernels are emulated (emulator/test_*.py): one forward. ``meta`` stands for the GPU here.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import memgan
from memgan.backends import native

LAUNCHES_NOTHING = {
    "aten.detach.default",
    "aten.view.default",
    "aten.empty.memory_format",
    "aten.alias.default",
}


class Dispatched(TorchDispatchMode):
    """Names of the ops that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(op))
        return op(*args, **(kwargs or {}))


@pytest.fixture
def _meta_as_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(native.DTYPES, "meta", native.DTYPES["cuda"])


@pytest.mark.usefixtures("_meta_as_a_gpu")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_forward_of_the_layer_is_four_launches(masked: bool, training: bool) -> None:
    memory = memgan.DynamicMemory(64, 256).to("meta")
    features, words = torch.empty(2, 64, 8, 8, device="meta"), torch.empty(2, 18, 256, device="meta")
    mask = torch.empty(2, 18, dtype=torch.bool, device="meta") if masked else None
    with torch.set_grad_enabled(training), Dispatched() as seen:
        memory(features.requires_grad_(training), words, mask)
    assert [name for name in seen.names if name not in LAUNCHES_NOTHING] == [
        "aten.mean.dim",  # the summary
        "memgan.memory_write_forward.default",
        "memgan.memory_project_forward.default",
        "memgan.memory_refine_forward.default",
    ]
