"""Hooks run: a layer that would not call a hooked child calls it, with the same result."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from memgan import ResidualBlock, UpsampleBlock, use_backend


@pytest.fixture(params=["reference", "auto"], autouse=True)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with use_backend(request.param):
        yield


@pytest.mark.parametrize("block", [ResidualBlock(4), UpsampleBlock(4, 3)], ids=["residual", "upsample"])
def test_a_hook_of_all_modules_sees_the_norm_and_the_glu(block: nn.Module) -> None:
    seen: list[nn.Module] = []
    handle = register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        block(torch.randn(2, 4, 5, 6))
    finally:
        handle.remove()
    for name, part in block.named_modules():
        if "norm" in name or name == "glu":
            assert part in seen, name
