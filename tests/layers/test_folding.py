"""Folding BatchNorm changes no result, only how many passes it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import memgan
from memgan import InitialStage, RefinementStage, ResidualBlock, UpsampleBlock, fold_batchnorm


def settled(module: nn.Module) -> nn.Module:
    """With statistics and affine weights that are not the identity."""
    torch.manual_seed(7)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in ((part.running_mean, -1, 1), (part.running_var, 0.3, 3)):
                tensor.uniform_(low, high)
            nn.init.uniform_(part.weight, -2, 2)
            nn.init.uniform_(part.bias, -1, 1)
    return module


CASES = {
    "residual": (lambda: ResidualBlock(6), lambda: (torch.randn(2, 6, 5, 7),)),
    "upsample": (lambda: UpsampleBlock(6, 3), lambda: (torch.randn(2, 6, 16, 17),)),
    "initial": (
        lambda: InitialStage(5, 7, channels=4, size=32),
        lambda: (torch.randn(2, 5), torch.randn(2, 7)),
    ),
    "refinement": (lambda: RefinementStage(4, 6), lambda: (torch.randn(2, 4, 16, 16), torch.randn(2, 3, 6))),
    "sequential": (
        lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 2, 1)),
        lambda: (torch.randn(2, 3, 6, 6),),
    ),
    "without affine": (
        lambda: nn.Sequential(nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5, affine=False)),
        lambda: (torch.randn(3, 4),),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_folded_copy_computes_the_same_and_the_original_is_untouched(case: str) -> None:
    build, draw = CASES[case]
    module = settled(build()).eval() if case != "without affine" else build().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    inputs = tuple(value.requires_grad_() for value in draw())
    folded = fold_batchnorm(module)
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in folded.modules())
    results = []
    for network in (module, folded):
        out = network(*inputs)
        out = out[0] if isinstance(out, tuple) else out
        results.append([out, *torch.autograd.grad(out.sin().sum(), inputs)])
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() <= 1e-5 * one.norm()
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def shared_layer() -> nn.Module:
    conv = nn.Conv2d(3, 3, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU(), conv, nn.BatchNorm2d(3))


def tied_weight() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    module[2].weight = module[0].weight
    module[3].weight = nn.Parameter(module[0].weight.detach())  # another parameter of the same memory
    return module


def layer_between_repeats() -> nn.Module:
    relu = nn.ReLU()
    return nn.Sequential(nn.Conv2d(3, 3, 1), relu, nn.Conv2d(3, 3, 1), relu, nn.BatchNorm2d(3))


def hooked(name: str, kind: str) -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    layer = module.get_submodule(name)
    if kind == "forward":
        layer.register_forward_hook(lambda _module, _inputs, out: out.square())
    else:
        layer.register_forward_pre_hook(lambda _module, inputs: (inputs[0].square(),))
    return module


class OneNormOfTwo(nn.Module):
    norms_follow = {"one": "norm", "other": "norm"}

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.one(x)) + self.norm(self.other(x))


DELICATE = {
    "a layer in two places": shared_layer,
    "a tied weight": tied_weight,
    "what stands between a repeated layer": layer_between_repeats,
    "a forward hook of the layer": lambda: hooked("0", "forward"),
    "a pre-hook of the norm": lambda: hooked("1", "pre"),
    "a forward hook of the norm": lambda: hooked("1", "forward"),
    "one norm behind two layers": OneNormOfTwo,
    "a linear layer's norm over another axis": lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(3)),
    "a linear layer's norm of images": lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm2d(3)),
}


@pytest.mark.parametrize("case", DELICATE)
def test_no_copy_computes_something_else(case: str) -> None:
    module = settled(DELICATE[case]()).eval()
    x = torch.randn(2, 3, *([4] if case.endswith("another axis") else [3, 4]))
    torch.testing.assert_close(fold_batchnorm(module)(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "wrong", "axes"),
    [
        (nn.Linear(4, 3), (2, 3, 4), r"\(B, C\), got \(2, 3, 3\)"),
        (nn.Conv1d(4, 3, 1), (4, 3), r"\(B, C, L\), got \(3, 3\)"),
    ],
    ids=["linear", "conv"],
)
def test_a_folded_norm_refuses_an_input_of_other_channels(
    layer: nn.Module, wrong: tuple[int, ...], axes: str
) -> None:
    module = nn.Sequential(layer, nn.BatchNorm1d(3)).eval()
    module(torch.randn(wrong))  # its channels are not the layer's, and as many
    with pytest.raises(memgan.ShapeError, match=f"`input` of a folded BatchNorm1d must be {axes}"):
        fold_batchnorm(module)(torch.randn(wrong))


def test_what_cannot_be_folded_stays() -> None:
    class Own(nn.Conv2d):
        pass

    module = nn.Sequential(
        Own(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1),
        nn.BatchNorm2d(2, track_running_stats=False),
    )  # fmt: skip
    module.eval()
    x = torch.randn(2, 2, 4, 4)
    folded = fold_batchnorm(module)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in folded.modules()) == 3
    torch.testing.assert_close(folded(x), module(x))


def test_a_class_may_name_its_pairs() -> None:
    class Block(nn.Module):
        norms_follow = {"b": "a"}

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.BatchNorm2d(3), nn.Conv2d(2, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(self.b(x))

    block = settled(Block()).eval()
    x = torch.randn(2, 2, 4, 4)
    assert isinstance(fold_batchnorm(block).a, nn.Identity)
    torch.testing.assert_close(memgan.fold_batchnorm(block)(x), block(x), rtol=1e-4, atol=1e-5)
