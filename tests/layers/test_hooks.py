"""What must be called is called: hooks and replaced layers count where a layer would compute with weights alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import prune

from memgan import DynamicMemory, RefinementStage, ResidualBlock, UpsampleBlock, use_backend

STAGE = RefinementStage(4, 6)
PARTS = [name for name, _ in STAGE.named_modules() if name]
LAYERS = [name for name, part in STAGE.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


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


def stage() -> tuple[RefinementStage, tuple[Tensor, Tensor, Tensor]]:
    torch.manual_seed(5)
    made = torch.randn(2, 4, 16, 16, dtype=torch.float64), torch.randn(2, 3, 6, dtype=torch.float64)
    return RefinementStage(4, 6).double(), (*made, MASK)


@pytest.mark.parametrize("part", PARTS)
def test_a_hook_of_any_part_runs_and_changes_nothing(part: str) -> None:
    module, inputs = stage()
    want = module(*inputs)[0]
    seen: list[nn.Module] = []
    module.get_submodule(part).register_forward_hook(lambda hooked, *_: seen.append(hooked))
    torch.testing.assert_close(module(*inputs)[0], want)
    assert module.get_submodule(part) in seen


@pytest.mark.parametrize("layer", LAYERS)
def test_a_weight_that_a_hook_computes_is_the_one_that_counts(layer: str) -> None:
    module, inputs = stage()
    with torch.no_grad():
        module.get_submodule(layer).weight.mul_(2)  # type: ignore[operator, union-attr]
    want = module(*inputs)[0]
    module, inputs = stage()
    pruned = prune.identity(module.get_submodule(layer), "weight")  # `weight_orig` times a mask, at each call
    with torch.no_grad():
        pruned.weight_orig.mul_(2)
    out = module(*inputs)[0]
    torch.testing.assert_close(out, want)
    (slope,) = torch.autograd.grad(out.square().sum(), pruned.weight_orig)
    assert slope.isfinite().all()
    assert slope.any()


class Twice(nn.Module):
    """A layer of somebody's own around the one that was there, as adapters are."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.weight, self.bias = layer.weight, layer.bias
        self.in_features = getattr(layer, "in_features", None)
        self.in_channels = getattr(layer, "in_channels", None)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * 2


@pytest.mark.parametrize("way", ["another module", "another forward"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_with_a_forward_of_its_own_is_called(layer: str, way: str) -> None:
    module, inputs = stage()
    with torch.no_grad():
        for parameter in module.get_submodule(layer).parameters():
            parameter.mul_(2)
    want = module(*inputs)[0]
    module, inputs = stage()
    old = module.get_submodule(layer)
    if way == "another module":
        module.set_submodule(layer, Twice(old))  # type: ignore[arg-type]
    else:
        plain = old.forward
        old.forward = lambda x: plain(x) * 2  # type: ignore[method-assign]
    torch.testing.assert_close(module(*inputs)[0], want)


@pytest.mark.parametrize("arm", [{"write_gate": False}, {"response_gate": False}, {"mask_mode": "release"}])
def test_every_arm_calls_its_hooked_parts(arm: dict[str, object]) -> None:
    memory = DynamicMemory(4, 6, **arm)  # type: ignore[arg-type]
    inputs = torch.randn(2, 4, 5, 6), torch.randn(2, 3, 6), MASK
    want = memory(*inputs, return_attention=True)
    parts = set(memory.modules()) - {memory}
    seen: set[nn.Module] = set()
    for part in parts:
        part.register_forward_hook(lambda hooked, *_: seen.add(hooked))
    torch.testing.assert_close(memory(*inputs, return_attention=True), want)
    assert seen == parts
