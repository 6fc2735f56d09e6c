"""The memory's ops equal plain loops, on both backends, and keep their promises about padding, batches and order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import memgan
from memgan.errors import DeviceError, DtypeError, ShapeError
from tests.ops import loops


@pytest.fixture(params=["reference", "auto"], autouse=True)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with memgan.use_backend(request.param):
        yield


def normal(*size: int, seed: int = 0) -> Tensor:
    made = torch.Generator().manual_seed(sum(size) + 1000 * seed)
    return torch.randn(*size, generator=made, dtype=torch.float64)


def writing(gates: int | None = 1, seed: int = 0) -> tuple[Tensor, ...]:
    """B 2, L 3, E 5, C 7, M 11."""
    plain = (normal(2, 3, 5), normal(2, 7), normal(11, 5), normal(11), normal(11, 7), normal(11, seed=1))
    return plain if gates is None else (*plain, normal(gates, 5), normal(gates, 7))


def reading(channels: int = 5, words: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """B 2, H 4, W 6."""
    return normal(2, channels, 4, 6), normal(2, words, channels), normal(2, words, channels, seed=1)


MASK = torch.tensor([[True, False, True], [True, True, True]])


@pytest.mark.parametrize("gates", [None, 1, 11])
def test_memory_write_equals_the_loop(gates: int | None) -> None:
    torch.testing.assert_close(memgan.memory_write(*writing(gates)), loops.write(*writing(gates)))


@pytest.mark.parametrize("gates", [None, 1, 11])
@pytest.mark.parametrize("mask", [MASK, MASK.long()], ids=["bool", "int"])
def test_padding_is_written_as_zeros_whatever_stands_there(gates: int | None, mask: Tensor) -> None:
    words, *rest = writing(gates)
    padding = mask[:, :, None] == 0
    dirty = words.masked_fill(padding, float("nan")).requires_grad_()
    given = (*rest, None, None)[:7]
    memory = memgan.memory_write(dirty, *given, mask)
    torch.testing.assert_close(memory, loops.write(words.masked_fill(padding, 0.0), *rest))
    (slope,) = torch.autograd.grad(memory.square().sum(), dirty)
    assert not slope.isnan().any()
    assert not slope.masked_select(padding).any()


def projecting() -> tuple[Tensor, ...]:
    """B 2, L 3, M 5, C 7, D 11."""
    return normal(2, 3, 5), normal(7, 5), normal(7), normal(11, 5), normal(11)


def test_memory_project_equals_the_loop() -> None:
    memory, key_weight, key_bias, value_weight, value_bias = projecting()
    keys, values = memgan.memory_project(*projecting())
    torch.testing.assert_close(keys, loops.project(memory, key_weight, key_bias))
    torch.testing.assert_close(values, loops.project(memory, value_weight, value_bias))


def test_derivatives_of_memory_project() -> None:
    inputs = tuple(tensor.requires_grad_() for tensor in projecting())
    assert torch.autograd.gradcheck(memgan.memory_project, inputs)
    assert torch.autograd.gradgradcheck(memgan.memory_project, inputs)


@pytest.mark.parametrize(
    ("place", "tensor", "told"),
    [
        (0, normal(2, 5), r"memory_project: `memory` must be \(B, L, M\)"),
        (1, normal(5, 7), r"`key_weight` must be \(C, M\) = \(any, 5\), got \(5, 7\)"),
        (2, normal(11), r"`key_bias` must be \(C,\) = \(7\), got \(11,\)"),
        (3, normal(11, 4), r"`value_weight` must be \(D, M\)"),
        (4, normal(7), r"`value_bias` must be \(D,\)"),
    ],
)
def test_a_wrong_argument_of_projecting_is_named(place: int, tensor: Tensor, told: str) -> None:
    arguments = [*projecting()]
    arguments[place] = tensor
    with pytest.raises(ShapeError, match=told):
        memgan.memory_project(*arguments)


@pytest.mark.parametrize("mask", [None, MASK, MASK.long()], ids=["no mask", "bool", "int"])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_memory_read_equals_the_loop(mask: Tensor | None, scale: float) -> None:
    features, keys, _ = reading()
    values = normal(2, 3, 13)
    got = memgan.memory_read(features, keys, values, mask, scale=scale, return_attention=True)
    torch.testing.assert_close(got, loops.read(features, keys, values, mask, scale=scale))


@pytest.mark.parametrize("rows", [1, 5])
def test_memory_respond_equals_the_loop(rows: int) -> None:
    arguments = (normal(2, 5, 4, 6), normal(2, 5, 4, 6, seed=1), normal(rows, 10), normal(rows))
    torch.testing.assert_close(memgan.memory_respond(*arguments), loops.respond(*arguments))


@pytest.mark.parametrize("rows", [1, 5])
def test_memory_refine_is_read_then_respond(rows: int) -> None:
    features, keys, values = reading()
    weight, bias = normal(rows, 10), normal(rows)
    read, attention = loops.read(features, keys, values, MASK, scale=0.3)
    got = memgan.memory_refine(features, keys, values, MASK, weight, bias, scale=0.3, return_attention=True)
    torch.testing.assert_close(got, (loops.respond(features, read, weight, bias), attention))
    assert memgan.memory_refine(features, keys, values, MASK, weight, bias)[1] is None


@pytest.mark.parametrize("gates", [None, 1, 11])
def test_derivatives_of_memory_write(gates: int | None) -> None:
    inputs = tuple(t.requires_grad_() for t in writing(gates))
    assert torch.autograd.gradcheck(memgan.memory_write, inputs)
    assert torch.autograd.gradgradcheck(memgan.memory_write, inputs)


@pytest.mark.parametrize("op", ["read", "respond", "refine"])
def test_derivatives_of_the_ops_over_pixels(op: str) -> None:
    features, keys, values = (t[:, :, :2, :2] if t.ndim == 4 else t for t in reading(3))
    gate = (normal(1, 6), normal(1))
    mask = torch.tensor([[True, False, True], [False, False, False]])
    calls = {
        "read": (
            lambda r, k, v: memgan.memory_read(r, k, v, mask, return_attention=True),
            (features, keys, values),
        ),
        "respond": (
            memgan.memory_respond,
            (features, values.mT[:, :, :2, None].expand(-1, -1, -1, 2), *gate),
        ),
        "refine": (
            lambda r, k, v, w, b: memgan.memory_refine(r, k, v, mask, w, b, return_attention=True),
            (features, keys, values, *gate),
        ),
    }
    call, inputs = calls[op]
    inputs = tuple(t.clone().requires_grad_() for t in inputs)
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


@given(padding=st.integers(0, 4), junk=st.sampled_from([0.0, 7.0, float("nan"), float("inf")]))
def test_padding_never_changes_anything(padding: int, junk: float) -> None:
    features, keys, values = reading()
    alone = memgan.memory_read(features, keys, values, return_attention=True)
    fill = torch.full((2, padding, 5), junk, dtype=torch.float64)
    longer = [torch.cat([t, fill], 1).requires_grad_() for t in (keys, values)]
    mask = torch.arange(3 + padding) < 3
    padded = memgan.memory_read(features, *longer, mask.expand(2, -1), return_attention=True)
    torch.testing.assert_close(padded[0], alone[0])
    assert padded[1] is not None
    torch.testing.assert_close(padded[1][:, :3], alone[1])
    assert not padded[1][:, 3:].any()
    for grad in torch.autograd.grad(padded[0].sum(), longer):
        assert not grad[:, 3:].any()


@given(keep=st.integers(0, 1), seed=st.integers(1, 50))
def test_an_image_does_not_depend_on_its_neighbours(keep: int, seed: int) -> None:
    inputs = [*reading(), normal(1, 10), normal(1)]

    def refine(tensors: list[Tensor]) -> Tensor:
        features, keys, values, *gate = tensors
        return memgan.memory_refine(features, keys, values, MASK, *gate)[0]

    changed = [t.clone() for t in inputs]
    for tensor in changed[:3]:
        tensor[1 - keep] = normal(*tensor.shape[1:], seed=seed)
    torch.testing.assert_close(refine(changed)[keep], refine(inputs)[keep], rtol=0, atol=0)


@given(order=st.permutations(range(5)))
def test_permuting_words_permutes_attention(order: list[int]) -> None:
    features, keys, values = reading(words=5)
    mask = torch.tensor([[True, True, False, True, True], [False, True, True, True, False]])
    read, attention = memgan.memory_read(features, keys, values, mask, return_attention=True)
    moved = memgan.memory_read(
        features, keys[:, order], values[:, order], mask[:, order], return_attention=True
    )
    assert attention is not None
    torch.testing.assert_close(moved, (read, attention[:, order]))


@pytest.mark.parametrize(("batch", "words", "height"), [(2, 0, 4), (0, 3, 4), (2, 3, 0)])
def test_nothing_to_read_from_or_into(batch: int, words: int, height: int) -> None:
    features, keys = normal(batch, 5, height, 6), normal(batch, words, 5)
    read, attention = memgan.memory_read(features, keys, keys, return_attention=True)
    assert read.shape == features.shape
    assert attention is not None
    assert attention.shape == (batch, words, height, 6)
    assert not read.any()
    refined, _ = memgan.memory_refine(features, keys, keys, None, normal(1, 10), normal(1))
    assert refined.shape == features.shape


@pytest.mark.parametrize("layout", ["channels_last", "sliced", "expanded"])
def test_any_layout_gives_the_same(layout: str) -> None:
    features, keys, values = reading()
    other = {
        "channels_last": features.contiguous(memory_format=torch.channels_last),
        "sliced": torch.cat([features, features], 3)[:, :, :, :6],
        "expanded": features,
    }[layout]
    if layout == "expanded":
        keys = keys[:1].expand(2, -1, -1)
    got, _ = memgan.memory_read(other, keys, values)
    want, _ = memgan.memory_read(features, keys.contiguous(), values)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precision_stays_near(dtype: torch.dtype) -> None:
    features, keys, values = reading()
    weight, bias = normal(1, 10), normal(1)
    exact, _ = memgan.memory_refine(features, keys, values, MASK, weight, bias)
    low = [t.to(dtype) for t in (features, keys, values, weight, bias)]
    got, _ = memgan.memory_refine(*low[:3], MASK, *low[3:])
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), exact, rtol=0, atol=40 * torch.finfo(dtype).eps)


def test_autocast_computes_in_its_dtype() -> None:
    features, keys, values = (t.float() for t in reading())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        read, _ = memgan.memory_read(features, keys.bfloat16(), values)
        assert read.dtype == torch.bfloat16
        assert memgan.memory_read(*(t.double() for t in (features, keys, values)))[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (
            {"keys": normal(2, 3, 4)},
            ShapeError,
            r"memory_refine: `keys` must be \(B, L, C\) = \(2, any, 5\), got \(2, 3, 4\)",
        ),
        ({"values": normal(2, 4, 5)}, ShapeError, r"`values` must be"),
        ({"image_features": normal(2, 5, 4)}, ShapeError, r"`image_features` must be \(B, C, H, W\)"),
        (
            {"word_mask": torch.zeros(2, 3)},
            DtypeError,
            r"`word_mask` must be bool or integer.*attention_mask",
        ),
        ({"word_mask": MASK.mT}, ShapeError, r"`word_mask` must be \(B, L\).*look swapped"),
        ({"gate_weight": normal(1, 9)}, ShapeError, r"`gate_weight` must be"),
        ({"gate_bias": normal(2)}, ShapeError, r"`gate_bias` must be"),
        (
            {"keys": normal(2, 3, 5).float()},
            DtypeError,
            r"`keys` must have the dtype of `image_features`, torch.float64",
        ),
        (
            {"image_features": torch.zeros(2, 5, 4, 6, dtype=torch.int64)},
            DtypeError,
            r"must be a floating dtype",
        ),
        (
            {"values": torch.zeros(2, 3, 5, dtype=torch.float64, device="meta")},
            DeviceError,
            r"`values` must be on the device",
        ),
    ],
)
def test_a_wrong_argument_is_named(change: dict[str, Tensor], error: type[Exception], told: str) -> None:
    features, keys, values = reading()
    arguments = {
        "image_features": features,
        "keys": keys,
        "values": values,
        "word_mask": MASK,
        "gate_weight": normal(1, 10),
        "gate_bias": normal(1),
    } | change
    with pytest.raises(error, match=told):
        memgan.memory_refine(**arguments)


@pytest.mark.parametrize(
    ("place", "tensor", "told"),
    [
        (1, normal(3, 7), r"memory_write: `image_summary` must be \(B, C\) = \(2, any\), got \(3, 7\)"),
        (2, normal(11, 4), r"`word_weight` must be \(M, E\)"),
        (
            4,
            normal(7, 11),
            r"`image_weight` must be \(M, C\) = \(11, 7\), got \(7, 11\). The two sizes look swapped",
        ),
        (6, normal(3, 5), r"`gate_word` must be \(1, E\) or \(M, E\)"),
        (7, None, r"`gate_word` and `gate_image` go together, but `gate_image` is None"),
    ],
)
def test_a_wrong_argument_of_writing_is_named(place: int, tensor: Tensor | None, told: str) -> None:
    arguments: list[Tensor | None] = [*writing()]
    arguments[place] = tensor
    with pytest.raises(ShapeError, match=told):
        memgan.memory_write(*arguments)  # type: ignore[arg-type]


def test_compiled_in_one_graph() -> None:
    def run(*tensors: Tensor) -> Tensor:
        memory = memgan.memory_write(*tensors[:8])
        features, keys, values, weight, bias = tensors[8:]
        refined, attention = memgan.memory_refine(
            features, keys, values, MASK, weight, bias, return_attention=True
        )
        assert attention is not None
        return memory.sum() + refined.sum() + attention.square().sum()

    inputs = (*writing(), *reading(), normal(1, 10), normal(1))
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), run(*inputs))
