"""The modules at the edges: wrong arguments by name, half precision on large images, nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import memgan


@pytest.fixture(params=["reference", "auto"], autouse=True)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with memgan.use_backend(request.param):
        yield


def zeros(*size: int) -> Tensor:
    return torch.zeros(*size)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "attention, features": (
        lambda: memgan.WordAttention(4, 6)(zeros(2, 5, 3, 3), zeros(2, 3, 6)),
        r"WordAttention: `image_features` must be \(B, C, H, W\) = \(any, 4, any, any\), got \(2, 5, 3, 3\)",
    ),
    "attention, words": (
        lambda: memgan.WordAttention(4, 6)(zeros(2, 4, 3, 3), zeros(2, 3, 5)),
        r"WordAttention: `words` must be \(B, L, E\) = \(2, any, 6\), got \(2, 3, 5\)",
    ),
    "attention, mask": (
        lambda: memgan.WordAttention(4, 6)(zeros(2, 4, 3, 3), zeros(2, 3, 6), torch.ones(2, 4).bool()),
        r"WordAttention: `word_mask` must be \(B, L\) = \(2, 3\), got \(2, 4\)",
    ),
    "writer, words": (
        lambda: memgan.MemoryWriter(4, 6, write_gate=False)(zeros(2, 3, 5), zeros(2, 4)),
        r"MemoryWriter: `words` must be \(B, L, E\) = \(any, any, 6\), got \(2, 3, 5\)",
    ),
    "writer, summary": (
        lambda: memgan.MemoryWriter(4, 6)(zeros(2, 3, 6), zeros(2, 5)),
        r"`image_summary` must be \(B, C\) = \(2, 4\), got \(2, 5\)",
    ),
    "reader, memory": (
        lambda: memgan.MemoryReader(4, 8)(zeros(2, 4, 3, 3), zeros(2, 3, 7)),
        r"MemoryReader: `memory` must be \(B, L, M\) = \(2, any, 8\), got \(2, 3, 7\)",
    ),
    "conditioning, sentence": (
        lambda: memgan.ConditioningAugmentation(8, 5)(zeros(2, 7)),
        r"ConditioningAugmentation: `sentence` must be \(B, E\) = \(any, 8\), got \(2, 7\)",
    ),
    "conditioning, noise": (
        lambda: memgan.ConditioningAugmentation(8, 5)(zeros(2, 8), noise=zeros(2, 1)),
        r"ConditioningAugmentation: `noise` must be \(B, c\) = \(2, 5\), got \(2, 1\)",
    ),
    "writer's gate, words": (
        lambda: memgan.MemoryWriter(4, 6).gate(zeros(3, 6), zeros(2, 4)),
        r"MemoryWriter: `words` must be \(B, L, E\) = \(any, any, 6\), got \(3, 6\)",
    ),
    "writer's gate, summary": (
        lambda: memgan.MemoryWriter(4, 6).gate(zeros(2, 3, 6), zeros(1, 4)),
        r"MemoryWriter: `image_summary` must be \(B, C\) = \(2, 4\), got \(1, 4\)",
    ),
    "response's gate, features": (
        lambda: memgan.ResponseGate(4).gate(zeros(2, 5, 3, 3), zeros(2, 3, 3, 3)),
        r"ResponseGate: `image_features` must be \(B, C, H, W\) = \(any, 4, any, any\), got \(2, 5, 3, 3\)",
    ),
    "response's gate, read": (
        lambda: memgan.ResponseGate(4).gate(zeros(2, 4, 3, 3), zeros(1, 4, 3, 3)),
        r"ResponseGate: `read` must be \(B, C, H, W\) = \(2, 4, 3, 3\), got \(1, 4, 3, 3\)",
    ),
    "glu": (
        lambda: memgan.GLU()(zeros(4)),
        r"GLU: `x` must have an even number of channels, as \(B, 2C, \.\.\.\), got \(4,\)",
    ),
    "residual": (
        lambda: memgan.ResidualBlock(4)(zeros(2, 5, 3, 3)),
        r"ResidualBlock: `x` must be \(B, C, H, W\) = \(any, 4, any, any\), got \(2, 5, 3, 3\)",
    ),
    "residual, unbatched": (lambda: memgan.ResidualBlock(4)(zeros(4, 3, 3)), r"ResidualBlock: `x` must be"),
    "upsample": (
        lambda: memgan.UpsampleBlock(4, 2)(zeros(2, 5, 3, 3)),
        r"UpsampleBlock: `x` must be \(B, in, H, W\) = \(any, 4, any, any\), got \(2, 5, 3, 3\)",
    ),
    "upsample, unbatched": (
        lambda: memgan.UpsampleBlock(4, 2)(zeros(4, 3, 3)),
        r"UpsampleBlock: `x` must be",
    ),
    "initial, condition": (
        lambda: memgan.InitialStage(5, 7, channels=2, size=8)(zeros(2, 7), zeros(2, 5)),
        r"InitialStage: `condition` must be \(B, c\) = \(any, 5\), got \(2, 7\)",
    ),
    "initial, noise": (
        lambda: memgan.InitialStage(5, 7, channels=2, size=8)(zeros(2, 5), zeros(1, 7)),
        r"InitialStage: `noise` must be \(B, Z\) = \(2, 7\), got \(1, 7\)",
    ),
    "reader, features": (
        lambda: memgan.MemoryReader(4, 6)(zeros(2, 5, 3, 3), zeros(2, 3, 6)),
        r"MemoryReader: `image_features` must be \(B, C, H, W\) = \(any, 4, any, any\), got \(2, 5, 3, 3\)",
    ),
    "reader, batch": (
        lambda: memgan.MemoryReader(4, 6)(zeros(3, 4, 3, 3), zeros(2, 3, 6)),
        r"MemoryReader: `memory` must be \(B, L, M\) = \(3, any, 6\), got \(2, 3, 6\)",
    ),
    "stage, features": (
        lambda: memgan.RefinementStage(4, 6)(zeros(2, 5, 3, 3), zeros(2, 3, 6)),
        r"`image_features` must be \(B, C, H, W\)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_named(case: str) -> None:
    call, told = WRONG[case]
    with pytest.raises(memgan.ShapeError, match=told):
        call()


def test_attention_refuses_an_additive_mask() -> None:
    with pytest.raises(memgan.DtypeError, match=r"WordAttention: `word_mask` must be bool or integer"):
        memgan.WordAttention(4, 6)(zeros(2, 4, 3, 3), zeros(2, 3, 6), zeros(2, 3))


WRONG_KIND: dict[str, tuple[Callable[[], object], str]] = {
    "attention, dtypes": (
        lambda: memgan.WordAttention(4, 6)(zeros(2, 4, 3, 3), zeros(2, 3, 6).double()),
        "WordAttention: `words` must have the dtype of `image_features`, torch.float32, got torch.float64",
    ),
    "attention, weight": (
        lambda: memgan.WordAttention(4, 6)(zeros(2, 4, 3, 3).double(), zeros(2, 3, 6).double()),
        "WordAttention: `weight` must have the dtype of `image_features`, torch.float64, got torch.float32",
    ),
    "reader, dtypes": (
        lambda: memgan.MemoryReader(4, 6)(zeros(2, 4, 3, 3).double(), zeros(2, 3, 6)),
        "MemoryReader: `memory` must have the dtype of `image_features`",
    ),
    "memory, mask": (
        lambda: memgan.DynamicMemory(4, 6)(zeros(2, 4, 3, 3), zeros(2, 3, 6), [[1, 1, 0], [1, 0, 0]]),  # type: ignore[arg-type]
        "DynamicMemory: `word_mask` must be a tensor, got list",
    ),
    "memory, features": (
        lambda: memgan.DynamicMemory(4, 6)(zeros(2, 4, 3, 3).numpy(), zeros(2, 3, 6)),
        "DynamicMemory: `image_features` must be a tensor, got ndarray",
    ),
}


@pytest.mark.parametrize("case", WRONG_KIND)
def test_an_argument_of_another_kind_is_named(case: str) -> None:
    call, told = WRONG_KIND[case]
    with pytest.raises(memgan.DtypeError, match=told):
        call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_summary_of_a_large_image_does_not_overflow(dtype: torch.dtype) -> None:
    # 128 * 128 pixels of 8: their sum is beyond float16, their mean is not.
    features = torch.full((1, 4, 128, 128), 8.0, dtype=dtype)
    memory = memgan.DynamicMemory(4, 6).to(dtype)
    words = torch.randn(1, 3, 6).to(dtype)
    assert torch.equal(memory._prepared(features, words, None)[1], torch.full((1, 4), 8.0, dtype=dtype))
    assert memory(features, words)[0].isfinite().all()


@pytest.mark.parametrize(("batch", "words", "height"), [(2, 0, 5), (0, 3, 5), (2, 3, 0)])
@pytest.mark.parametrize("mode", ["aligned", "release"])
def test_nothing_goes_through_forward_inspect_and_backward(
    batch: int, words: int, height: int, mode: str
) -> None:
    memory = memgan.DynamicMemory(4, 6, mask_mode=mode)  # type: ignore[arg-type]
    features = torch.randn(batch, 4, height, 6, requires_grad=True)
    inputs = (features, torch.randn(batch, words, 6), torch.ones(batch, words, dtype=torch.bool))
    out, attention = memory(*inputs, return_attention=True)
    assert out.shape == features.shape
    assert attention.shape == (batch, words, height, 6)
    told = memory.inspect(*inputs)
    assert told.attention.shape == attention.shape
    assert told.write_gate is not None
    assert told.write_gate.shape == (batch, words)
    for grad in torch.autograd.grad(out.sum(), [features, *memory.parameters()], allow_unused=True):
        assert grad is None or grad.isfinite().all()


def test_padding_of_nan_reaches_no_derivative_of_either_order() -> None:
    memory = memgan.DynamicMemory(4, 6).double()
    features = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    words = torch.randn(3, 7, 6, dtype=torch.float64)
    mask = torch.rand(3, 7) > 0.4
    words[~mask] = float("nan")
    words.requires_grad_()
    out, _ = memory(features, words, mask)
    (slope,) = torch.autograd.grad(out.square().sum(), features, create_graph=True)
    grads = torch.autograd.grad(
        slope.square().sum(), [words, *memory.parameters(), features], allow_unused=True
    )
    assert not grads[0][~mask].any()
    assert grads[0][mask].any()
    assert all(grad is None or grad.isfinite().all() for grad in grads)


def test_checkpointing_changes_nothing() -> None:
    from torch.utils.checkpoint import checkpoint

    stage = memgan.RefinementStage(4, 6).eval()
    features, words = torch.randn(2, 4, 5, 6, requires_grad=True), torch.randn(2, 3, 6)
    kept = torch.autograd.grad(stage(features, words)[0].square().sum(), features)
    again = checkpoint(lambda r: stage(r, words)[0], features, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(again.square().sum(), features), kept)


@pytest.mark.parametrize("detach", [True, False])
def test_words_of_another_dtype_are_told_as_the_caller_named_them(detach: bool) -> None:
    memory = memgan.DynamicMemory(3, 5, detach_summary=detach)
    features, words = torch.zeros(2, 3, 4, 4), torch.zeros(2, 7, 5, dtype=torch.float16)
    with pytest.raises(
        memgan.DtypeError, match="DynamicMemory: `words` must have the dtype of `image_features`"
    ):
        memory(features, words)
    with torch.autocast("cpu", torch.bfloat16):
        assert memory(features, words)[0].shape == features.shape
