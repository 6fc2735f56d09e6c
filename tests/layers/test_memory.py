"""The memory's modules: the ops with weights, every arm, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import memgan
from memgan import DynamicMemory, MemoryReader, MemoryWriter, ResponseGate


@pytest.fixture(params=["reference", "auto"], autouse=True)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with memgan.use_backend(request.param):
        yield


FEATURES = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
WORDS = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])
ARMS = {
    "full": {},
    "no write gate": {"write_gate": False},
    "no response gate": {"response_gate": False},
    "memory alone": {"write_gate": False, "response_gate": False},
    "scaled, with gradient": {"scale": 0.5, "detach_summary": False},
    "wide": {"memory_dim": 13},
}


def memory(**options: object) -> DynamicMemory:
    torch.manual_seed(0)
    return DynamicMemory(4, 7, **options).double()  # type: ignore[arg-type]


def by_hand(module: DynamicMemory, features: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Written out with the functions."""
    words = words.masked_fill(mask[:, :, None] == 0, 0.0)
    summary = features.mean((2, 3))
    writer, reader = module.writer, module.reader
    slots = torch.relu(words @ writer.word.weight.T + writer.word.bias)
    if writer.write_gate:
        gate = torch.sigmoid(
            words @ writer.gate_word.weight.T + (summary @ writer.gate_image.weight.T)[:, None]
        )
        image = torch.relu(summary @ writer.image.weight.T + writer.image.bias)
        slots = gate * slots + (1 - gate) * image[:, None]
    keys = torch.relu(slots @ reader.key.weight.T + reader.key.bias)
    values = torch.relu(slots @ reader.value.weight.T + reader.value.bias)
    read, attention = memgan.memory_read(
        features, keys, values, mask, scale=reader.scale, return_attention=True
    )
    assert attention is not None
    if module.response is None:
        return read, attention
    gate = module.response.gate(features, read)
    return gate * read + (1 - gate) * features, attention


@pytest.mark.parametrize("arm", ARMS)
def test_each_arm_is_what_its_parts_say(arm: str) -> None:
    module = memory(**ARMS[arm])
    got = module(FEATURES, WORDS, MASK, return_attention=True)
    torch.testing.assert_close(got, by_hand(module, FEATURES, WORDS, MASK))
    assert module.gated == (module.response is not None)
    assert module(FEATURES, WORDS, MASK)[1] is None


@pytest.mark.parametrize("arm", ARMS)
def test_derivatives_of_each_arm(arm: str) -> None:
    # The detached summary is no function of the features to autograd, and is one to finite differences.
    module = memory(**(ARMS[arm] | {"detach_summary": False}))
    inputs = (FEATURES[:, :, :2, :2].clone().requires_grad_(), WORDS.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda r, w: module(r, w, MASK, return_attention=True), inputs)
    assert torch.autograd.gradgradcheck(lambda r, w: module(r, w, MASK)[0], inputs)


def test_the_summary_passes_gradients_only_when_asked() -> None:
    slopes = []
    for detach in (True, False):
        features = FEATURES.clone().requires_grad_()
        module = memory(detach_summary=detach)
        summary = module._prepared(features, WORDS, MASK)[1]
        assert summary.requires_grad is not detach
        slopes.append(torch.autograd.grad(module(features, WORDS, MASK)[0].sum(), features)[0])
    assert not torch.allclose(*slopes)


def test_inspect_tells_what_the_call_did() -> None:
    module = memory()
    told = module.inspect(FEATURES, WORDS, MASK)
    _, attention = module(FEATURES, WORDS, MASK, return_attention=True)
    torch.testing.assert_close(told.attention, attention)
    assert told.write_gate is not None
    assert told.write_gate.shape == (2, 3)
    assert told.write_gate[0, 2] == 0, "padding"
    assert told.response_gate is not None
    assert told.response_gate.shape == (2, 1, 5, 6)
    bare = memory(write_gate=False, response_gate=False).inspect(FEATURES, WORDS, MASK)
    assert bare.write_gate is None
    assert bare.response_gate is None


def test_the_release_s_rows_depend_on_the_neighbours_and_aligned_ones_do_not() -> None:
    changed = MASK.clone()
    changed[1, 1:] = 0  # another caption's length
    for mode, differs in (("release", True), ("aligned", False)):
        module = memory(mask_mode=mode)
        one, other = (module(FEATURES, WORDS, mask)[0][0] for mask in (MASK, changed))
        assert torch.equal(one, other) is not differs


def test_parts_compose_to_the_whole() -> None:
    whole = memory()
    writer, reader, response = (
        MemoryWriter(4, 7).double(),
        MemoryReader(4, 8).double(),
        ResponseGate(4).double(),
    )
    writer.load_state_dict(whole.writer.state_dict())
    reader.load_state_dict(whole.reader.state_dict())
    assert whole.response is not None
    response.load_state_dict(whole.response.state_dict())
    slots = writer(WORDS, FEATURES.mean((2, 3)))
    read, _ = reader(FEATURES, slots)
    torch.testing.assert_close(response(FEATURES, read), whole(FEATURES, WORDS)[0])
    assert ResponseGate(4, per_channel=True)(FEATURES.float(), read.float()).shape == FEATURES.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_compiled_exported_in_any_layout(dtype: torch.dtype, layout: torch.memory_format) -> None:
    module = memory().to(dtype)
    features, words = FEATURES.to(dtype).contiguous(memory_format=layout), WORDS.to(dtype)
    want, _ = module(features, words, MASK)
    assert want.is_contiguous(memory_format=layout)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(features, words, MASK)[0], want)
    exported = torch.export.export(module, (features, words, MASK)).module()
    torch.testing.assert_close(exported(features, words, MASK)[0], want)


def test_the_names_of_the_weights_are_stable() -> None:
    names = (Path(__file__).parent / "dynamic_memory_keys.txt").read_text().split()
    assert list(memory().state_dict()) == names


@pytest.mark.parametrize(
    ("features", "words", "mask", "told"),
    [
        (torch.zeros(2, 5, 3, 3), torch.zeros(2, 3, 7), None, r"DynamicMemory: `image_features` must be"),
        (
            torch.zeros(2, 4, 3, 3),
            torch.zeros(2, 3, 6),
            None,
            r"DynamicMemory: `words` must be .*got \(2, 3, 6\)",
        ),
        (torch.zeros(2, 4, 3, 3), torch.zeros(3, 3, 7), None, r"`words` must be"),
        (
            torch.zeros(2, 4, 3, 3),
            torch.zeros(2, 3, 7),
            torch.ones(2, 4, dtype=torch.bool),
            r"`word_mask` must be",
        ),
    ],
)
def test_a_wrong_argument_is_named(features: Tensor, words: Tensor, mask: Tensor | None, told: str) -> None:
    with pytest.raises(memgan.ShapeError, match=told):
        DynamicMemory(4, 7)(features, words, mask)


def test_an_unknown_mask_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="`mask_mode` must be one of aligned, release, got 'tiled'"):
        DynamicMemory(4, 7, mask_mode="tiled")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`mask_mode` must be one of aligned, release, got 'tiled'"):
        memory().reader(FEATURES, torch.randn(2, 3, 8).double(), mask_mode="tiled")  # type: ignore[arg-type]
