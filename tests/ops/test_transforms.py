"""What torch does to functions, done to the ops: vmap, autocast, dynamic sizes, another backend after compiling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import memgan


@pytest.fixture(params=["reference", "auto"], autouse=True)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with memgan.use_backend(request.param):
        yield


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("op", ["memory_read", "memory_refine"])
def test_vmap_over_calls_is_one_call_after_the_other(op: str, masked: bool) -> None:
    features, keys, values = torch.randn(3, 2, 5, 4, 6), torch.randn(3, 2, 7, 5), torch.randn(3, 2, 7, 5)
    mask = torch.rand(3, 2, 7) > 0.3
    gate = (torch.randn(1, 10), torch.randn(1)) if op == "memory_refine" else ()

    def call(features: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = getattr(memgan, op)(features, keys, values, mask if masked else None, *gate)[0]
        return result

    arguments = (features, keys, values, mask)
    one_by_one = torch.stack([call(*(argument[i] for argument in arguments)) for i in range(3)])
    torch.testing.assert_close(torch.vmap(call)(*arguments), one_by_one)
    moved = features.movedim(0, 2)  # the mapped dimension need not be the first
    torch.testing.assert_close(torch.vmap(call, (2, 0, 0, 0))(moved, *arguments[1:]), one_by_one)


def test_vmap_gives_each_caption_its_own_gradient() -> None:
    memory = memgan.DynamicMemory(4, 6).double()
    weights = dict(memory.named_parameters())
    features = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    words = torch.randn(3, 2, 6, dtype=torch.float64)

    def loss(weights: dict[str, Tensor], features: Tensor, words: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(memory, weights, (features[None], words[None]))[0]
        return out.square().sum()

    each = torch.vmap(torch.func.grad(loss), (None, 0, 0))(weights, features, words)
    whole = torch.func.grad(lambda w: memory_loss(memory, w, features, words))(weights)
    for name, grads in each.items():
        torch.testing.assert_close(grads.sum(0), whole[name])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [4, 16])  # of the definition, and of the short form
def test_vmap_over_stacked_blocks_is_one_block_after_the_other(size: int, training: bool) -> None:
    blocks = [memgan.UpsampleBlock(6, 3).train(training) for _ in range(3)]
    images = torch.randn(3, 2, 6, size, size)
    weights, buffers = torch.func.stack_module_state(blocks)  # type: ignore[arg-type]

    def call(weights: dict[str, Tensor], buffers: dict[str, Tensor], image: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(blocks[0], (weights, buffers), (image,))
        return out

    one_by_one = torch.stack([block(image) for block, image in zip(blocks, images)])
    stacked = torch.vmap(call)(weights, buffers, images)
    torch.testing.assert_close(stacked, one_by_one, rtol=1e-4, atol=1e-5)
    for name, buffer in buffers.items():
        torch.testing.assert_close(buffer, torch.stack([block.get_buffer(name) for block in blocks]))


def memory_loss(memory: nn.Module, weights: dict[str, Tensor], features: Tensor, words: Tensor) -> Tensor:
    out: Tensor = torch.func.functional_call(memory, weights, (features, words))[0]
    return out.square().sum()


@pytest.mark.parametrize("given", [torch.bfloat16, torch.float16])
def test_the_losses_are_in_float32_under_autocast(given: torch.dtype) -> None:
    regions, words = torch.randn(3, 5, 4, 4).to(given), torch.randn(3, 7, 5)
    code, sentence = torch.randn(3, 5).to(given), torch.randn(3, 5)
    plain = (*memgan.words_loss(regions.float(), words, None), *memgan.sentence_loss(code.float(), sentence))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = (*memgan.words_loss(regions, words, None), *memgan.sentence_loss(code, sentence))
    for mine, right in zip(mixed, plain):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, right)
    with pytest.raises(memgan.DtypeError, match=r"words_loss: `words` must have the dtype of `regions`"):
        memgan.words_loss(regions, words, None)


def test_a_float64_loss_stays_one_under_autocast() -> None:
    regions, words = torch.randn(3, 5, 4, 4, dtype=torch.float64), torch.randn(3, 7, 5, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = memgan.words_loss(regions, words, None)
    torch.testing.assert_close(loss, memgan.words_loss(regions, words, None)[0])


def test_the_losses_of_no_image_are_the_mean_of_nothing() -> None:
    for loss in (
        *memgan.words_loss(torch.zeros(0, 5, 4, 4), torch.zeros(0, 7, 5), None),
        *memgan.sentence_loss(torch.zeros(0, 5), torch.zeros(0, 5)),
    ):
        assert loss.isnan(), "as torch's cross_entropy"


def test_exported_once_for_every_size() -> None:
    memory = memgan.DynamicMemory(4, 6)
    sizes = {letter: torch.export.Dim(letter, min=2, max=64) for letter in "BLHW"}
    exported = torch.export.export(
        memory,
        (torch.randn(3, 4, 5, 6), torch.randn(3, 7, 6), torch.rand(3, 7) > 0.3),
        dynamic_shapes={
            "image_features": {0: sizes["B"], 2: sizes["H"], 3: sizes["W"]},
            "words": {0: sizes["B"], 1: sizes["L"]},
            "word_mask": {0: sizes["B"], 1: sizes["L"]},
        },
    ).module()
    other = (torch.randn(2, 4, 9, 3), torch.randn(2, 4, 6), torch.rand(2, 4) > 0.3)
    torch.testing.assert_close(exported(*other)[0], memory(*other)[0])


def test_a_compiled_loss_is_one_graph_for_every_batch() -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(memgan.words_loss, fullgraph=True, dynamic=True, backend=backend)
    for batch in (3, 5, 6):
        inputs = (torch.randn(batch, 5, 4, 4), torch.randn(batch, 7, 5), torch.rand(batch, 7) > 0.2)
        torch.testing.assert_close(compiled(*inputs), memgan.words_loss(*inputs))
    assert len(graphs) == 1


def test_choosing_another_backend_compiles_again() -> None:
    fused = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        fused.append(any("memory_refine_forward" in str(node.target) for node in graph.graph.nodes))
        return graph.forward

    memory = memgan.DynamicMemory(4, 6)
    compiled = torch.compile(memory, fullgraph=True, backend=backend)
    inputs = (torch.randn(2, 4, 5, 6), torch.randn(2, 3, 6))
    for name in ("reference", "auto", "reference"):
        with memgan.use_backend(name):  # type: ignore[arg-type]
            torch.testing.assert_close(compiled(*inputs)[0], memory(*inputs)[0])
    can = "memory_refine: native: can run" in memgan.explain_backends("memory_refine")
    assert fused == [False, can]
