"""The blocks and stages around the memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import memgan
from memgan import (
    GLU,
    ConditioningAugmentation,
    InitialStage,
    RefinementStage,
    ResidualBlock,
    UpsampleBlock,
    WordAttention,
)


def test_glu_is_torch_s() -> None:
    x = torch.randn(2, 6, 3, 5)
    torch.testing.assert_close(GLU()(x), F.glu(x, 1))
    with pytest.raises(
        memgan.ShapeError,
        match=r"GLU: `x` must have an even number of channels, .*, got \(2, 5\)",
    ):
        GLU()(torch.zeros(2, 5))


def test_glu_keeps_channels_last_forward_and_backward() -> None:
    x = torch.randn(2, 6, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = GLU()(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert grad.is_contiguous(memory_format=torch.channels_last)


def test_residual_and_upsample_blocks_are_what_they_say() -> None:
    x = torch.randn(2, 4, 5, 6)
    block = ResidualBlock(4).eval()
    inner = block.norm2(block.conv2(F.glu(block.norm1(block.conv1(x)), 1)))
    torch.testing.assert_close(block(x), x + inner)
    up = UpsampleBlock(4, 3).eval()
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(up(x), F.glu(up.norm(up.conv(doubled)), 1), rtol=1e-4, atol=1e-5)
    assert up(x).shape == (2, 3, 10, 12)


@pytest.mark.parametrize("block", [ResidualBlock(4), UpsampleBlock(4, 3)], ids=["residual", "upsample"])
def test_a_norm_told_to_stop_tracking_keeps_its_statistics(block: nn.Module) -> None:
    for part in block.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.track_running_stats = False
    before = {name: buffer.clone() for name, buffer in block.named_buffers()}
    block(torch.randn(2, 4, 5, 6))
    for name, buffer in block.named_buffers():
        assert torch.equal(buffer, before[name]), name


@pytest.mark.parametrize("size", [8, 16, 64])
def test_the_initial_stage_halves_channels_as_it_doubles(size: int) -> None:
    stage = InitialStage(5, 7, channels=2, size=size)
    assert stage(torch.randn(2, 5), torch.randn(2, 7)).shape == (2, 2, size, size)
    assert stage.linear.out_features == 2 * (2 * size // 4) * 16


@pytest.mark.parametrize("size", [4, 12, 0, 65])
def test_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"`size` must be .*, got {size}"):
        InitialStage(5, 7, channels=2, size=size)


def test_conditioning_is_a_gaussian_around_the_sentence() -> None:
    module = ConditioningAugmentation(8, 5)
    sentence, noise = torch.randn(3, 8), torch.randn(3, 5)
    condition, mu, logvar = module(sentence, noise=noise)
    torch.testing.assert_close(condition, mu + noise * (logvar / 2).exp())
    torch.testing.assert_close(module(sentence, noise=torch.zeros(3, 5))[0], mu)
    assert not torch.equal(module(sentence)[0], module(sentence)[0])


@pytest.mark.parametrize("kind", ["memory", "attention", "ungated memory"])
def test_a_refinement_doubles_the_image_with_any_memory(kind: str) -> None:
    memory: nn.Module = {
        "memory": memgan.DynamicMemory(4, 6),
        "attention": WordAttention(4, 6),
        "ungated memory": memgan.DynamicMemory(4, 6, response_gate=False),
    }[kind]
    stage = RefinementStage(4, 6, memory=memory).eval()
    features, words = torch.randn(2, 4, 5, 6), torch.randn(2, 3, 6)
    out, attention = stage(features, words, return_attention=True)
    assert out.shape == (2, 4, 10, 12)
    assert attention.shape == (2, 3, 5, 6)
    result, _ = memory(features, words)
    beside = result if kind == "memory" else features
    torch.testing.assert_close(
        out, stage.upsample(stage.residual(torch.cat([result, beside], 1))), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("memory", [None, WordAttention(3, 5)], ids=["memory", "attention"])
def test_a_gradient_penalty_goes_through_a_whole_stage(memory: nn.Module | None) -> None:
    torch.manual_seed(3)
    stage = RefinementStage(3, 5, memory=memory, residual_blocks=1).double().eval()
    features = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    words = torch.randn(2, 3, 5, dtype=torch.float64)
    weight = stage.upsample.conv.weight

    def penalty() -> torch.Tensor:
        out, _ = stage(features, words)
        (slope,) = torch.autograd.grad(out.square().sum(), features, create_graph=True)
        return slope.square().sum()

    (grad,) = torch.autograd.grad(penalty(), weight)
    step = 1e-6
    with torch.no_grad():
        weight[0, 0, 1, 1] += step
    up = penalty().item()
    with torch.no_grad():
        weight[0, 0, 1, 1] -= 2 * step
    numeric = (up - penalty().item()) / (2 * step)
    assert abs(numeric) > 1e-6
    assert grad[0, 0, 1, 1].item() == pytest.approx(numeric, rel=1e-4)


def test_stages_compile_without_a_graph_break_and_export() -> None:
    stage = RefinementStage(4, 6).eval()
    inputs = (torch.randn(2, 4, 5, 6), torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool))
    want = stage(*inputs)[0]
    compiled = torch.compile(stage, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs)[0], want)
    torch.testing.assert_close(torch.export.export(stage, inputs).module()(*inputs)[0], want)


def test_word_attention_reads_projected_words_alone() -> None:
    module = WordAttention(4, 6)
    features, words = torch.randn(2, 4, 5, 6), torch.randn(2, 3, 6)
    mask = torch.tensor([[1, 0, 1], [1, 1, 1]])
    slots = words @ module.projection.weight.T
    want = memgan.memory_read(features, slots, slots, mask, return_attention=True)
    torch.testing.assert_close(module(features, words, mask, return_attention=True), want)
    words[0, 1] = float("nan")
    torch.testing.assert_close(module(features, words, mask)[0], want[0])
