"""Parts that a user replaces or wraps are used as they are: nothing about them is passed over in silence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import memgan
from memgan import DtypeError, ShapeError

Hook = lambda *args: None  # noqa: E731  (changes nothing, and makes a layer be called)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    return torch.randn(2, 4, 8, 8), torch.randn(2, 5, 6), mask


@pytest.mark.parametrize(
    "options",
    [
        {"padding_mode": "reflect"},
        {"dilation": 2, "padding": 2},
        {"groups": 2},
        {"kernel_size": 5, "padding": 2},
    ],
)
def test_a_convolution_of_another_kind_is_called(options: dict[str, object]) -> None:
    options = {"kernel_size": 3, "padding": 1, "bias": False} | options
    up, residual = memgan.UpsampleBlock(4, 2).eval(), memgan.ResidualBlock(4).eval()
    up.conv, residual.conv1 = nn.Conv2d(4, 4, **options), nn.Conv2d(4, 8, **options)  # type: ignore[arg-type]
    x, half = torch.randn(1, 4, 32, 32), torch.randn(1, 2, 6, 6)
    drawn, once = up(x), residual(half, twice=True)
    torch.testing.assert_close(once, residual(torch.cat([half, half], 1)))
    up.conv.register_forward_hook(Hook)
    torch.testing.assert_close(drawn, up(x))


def test_a_bias_that_was_added_or_taken_away_counts() -> None:
    features, words, mask = inputs()
    memory = memgan.DynamicMemory(4, 6)
    memory.writer.gate_word = nn.Linear(6, 1)
    nn.init.constant_(memory.writer.gate_word.bias, 3.0)
    memory.reader.key, memory.response.linear = nn.Linear(8, 4, bias=False), nn.Linear(8, 1, bias=False)
    drawn = memory(features, words, mask)[0]
    for layer in (memory.writer.gate_word, memory.reader.key, memory.response.linear):
        layer.register_forward_hook(Hook)
    torch.testing.assert_close(drawn, memory(features, words, mask)[0])


class Casts(nn.Linear):
    """Computes in its own dtype whatever comes, as layers of few bits do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype)).float()


def test_a_layer_that_casts_takes_another_dtype() -> None:
    features, words, mask = inputs()
    attention, reader = memgan.WordAttention(4, 6), memgan.MemoryReader(4, 6)
    attention.projection = Casts(6, 4, bias=False, dtype=torch.float64)
    reader.key, reader.value = (Casts(6, 4, dtype=torch.float64) for _ in range(2))
    assert attention(features, words.double(), mask)[0].dtype == torch.float32
    assert reader(features, words.double(), mask)[0].dtype == torch.float32


def test_parts_with_a_forward_of_their_own_are_called() -> None:
    called = []

    class Gate(memgan.ResponseGate):
        def forward(self, image_features: Tensor, read: Tensor) -> Tensor:
            called.append("response")
            return super().forward(image_features, read)

    class Reader(memgan.MemoryReader):
        def forward(self, *args: object, **options: object) -> object:
            called.append("reader")
            return super().forward(*args, **options)

    class Blocks(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            called.append("residual")
            return super().forward(x)

    features, words, mask = inputs()
    stage = memgan.RefinementStage(4, 6, residual_blocks=1)
    before = stage(features, words, mask)[0]
    memory = stage.memory
    response, reader, residual = Gate(4), Reader(4, 8), Blocks(*stage.residual)
    response.load_state_dict(memory.response.state_dict())
    reader.load_state_dict(memory.reader.state_dict())
    for part, place, name in (
        (response, memory, "response"),
        (reader, memory, "reader"),
        (residual, stage, "residual"),
    ):
        called.clear()
        setattr(place, name, part)
        torch.testing.assert_close(stage(features, words, mask)[0], before)
        assert name in called


@pytest.mark.parametrize(
    "wrap",
    [lambda m: nn.DataParallel(m), lambda m: nn.Sequential(m), torch.compile],
    ids=["parallel", "sequential", "compiled"],
)
def test_residual_blocks_may_be_wrapped(wrap) -> None:  # type: ignore[no-untyped-def]
    features, words, mask = inputs()
    stage = memgan.RefinementStage(4, 6, residual_blocks=1).eval()
    before = stage(features, words, mask)[0]
    if wrap is torch.compile:
        stage.residual = torch.compile(stage.residual, backend="eager")
    else:
        stage.residual = wrap(stage.residual)
    with torch.no_grad():
        torch.testing.assert_close(stage(features, words, mask)[0], before)


def test_a_wrapped_memory_is_gated_where_what_it_wraps_is() -> None:
    features, words, _ = inputs()
    for memory in (memgan.WordAttention(4, 6), memgan.DynamicMemory(4, 6)):
        stage = memgan.RefinementStage(4, 6, memory=memory).eval()
        before = stage(features, words)[0]
        stage.memory = nn.DataParallel(memory)
        torch.testing.assert_close(stage(features, words)[0], before)


def test_a_scale_that_is_a_parameter_is_learned() -> None:
    features, words, mask = inputs()
    for gated in (True, False):
        scale = nn.Parameter(torch.tensor(0.5))
        memory = memgan.DynamicMemory(4, 6, scale=scale, response_gate=gated)
        assert dict(memory.named_parameters())["reader.scale"] is scale
        fixed = memgan.DynamicMemory(4, 6, scale=0.5, response_gate=gated)
        fixed.load_state_dict({k: v for k, v in memory.state_dict().items() if k != "reader.scale"})
        result = memory(features, words, mask)[0]
        torch.testing.assert_close(result, fixed(features, words, mask)[0])
        result.square().sum().backward()
        given = scale.grad
        scale.grad = None
        with memgan.use_backend("reference"):
            memory(features, words, mask)[0].square().sum().backward()
        assert given is not None
        assert given.abs() > 0
        torch.testing.assert_close(given, scale.grad)


def test_a_scale_that_is_no_number_is_named() -> None:
    features, _, _ = inputs()
    keys = torch.randn(2, 5, 4)
    with pytest.raises(ShapeError, match=r"memory_read: `scale` must be one number, got a tensor of \(2,\)"):
        memgan.memory_read(features, keys, keys, scale=torch.ones(2))
    with pytest.raises(
        DtypeError, match="memory_read: `scale` must be a number or a tensor of one, got None"
    ):
        memgan.memory_read(features, keys, keys, scale=None)  # type: ignore[arg-type]


def test_a_block_with_a_forward_of_its_own_is_not_folded() -> None:
    class Leaky(memgan.UpsampleBlock):
        def forward(self, x: Tensor) -> Tensor:
            up = memgan.upsample_conv(x, self.conv.weight)
            return self.glu(self.norm(nn.functional.leaky_relu(up, 0.2)))

    block, patched = Leaky(4, 2), memgan.UpsampleBlock(4, 2)
    plain = patched.conv.forward
    patched.conv.forward = lambda x: plain(x).square()  # type: ignore[method-assign]
    for each in (block, patched):
        for _ in range(5):
            each(2 * torch.randn(4, 4, 8, 8) + 1)
        each.eval()
        x = torch.randn(1, 4, 8, 8)
        torch.testing.assert_close(memgan.fold_batchnorm(each)(x), each(x))
