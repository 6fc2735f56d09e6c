"""The fused ops equal the definition: results, first and second derivatives, whatever shape, layout and dtype."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import memgan
from memgan.backends import native
from tests.backends.native.inputs import Inputs, error, gradients
from tests.backends.native.runs import assert_same_on_any_number_of_threads, nan_where_unwritten

OPS = ("memory_read", "memory_refine")
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
SHAPES = {
    "primes": {"batch": 3, "channels": 5, "height": 7, "width": 11, "words": 13},
    "paper": {"batch": 2, "channels": 64, "height": 16, "width": 16, "words": 18},
    "no tile": {"batch": 2, "channels": 67, "height": 23, "width": 9, "words": 5},
    "many words": {"batch": 1, "channels": 32, "height": 9, "width": 8, "words": 77},
    "one of each": {"batch": 1, "channels": 1, "height": 1, "width": 1, "words": 1},
}


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", OPS)
def test_results_and_gradients_are_as_exact_as_the_definition_s(
    op: str, shape: str, dtype: torch.dtype, channels_last: bool
) -> None:
    inputs = Inputs.random(**SHAPES[shape], dtype=dtype, channels_last=channels_last)
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
    wide, exact = inputs.exact(op)
    plain, fused = inputs.defined(op), inputs.call(op)
    assert fused[0].stride() == inputs.features.stride() or fused[0].shape[1] == 1
    pairs = [*zip(fused, plain, exact)]
    pairs += zip(gradients(fused, tensors), gradients(plain, tensors), gradients(exact, wide.floating(op)))
    # In float64 the exact numbers are the definition's own: only rounding is left to allow for.
    unit = torch.finfo(dtype).eps * (40 if dtype == torch.float64 else 1)
    worst = max(error(theirs, right) for _, theirs, right in pairs)
    for mine, theirs, right in pairs:
        assert mine.dtype == dtype
        # A single number (the bias's gradient, a sum of hundreds of either sign) is exact or not by luck.
        allowed = 4 * worst if right.numel() == 1 else error(theirs, right)
        assert error(mine, right) <= 2 * allowed + unit


def test_the_softmax_is_as_exact_where_the_scores_are() -> None:
    inputs = Inputs.random(**SHAPES["paper"], dtype=torch.float32)
    inputs.scale = 0.1  # at 0.7 a large score's own rounding hides that of a power of two
    results = (
        inputs.call("memory_refine"),
        inputs.defined("memory_refine"),
        inputs.exact("memory_refine")[1],
    )
    mine, theirs, right = (attention for _, attention in results)
    assert error(mine, right) <= 2 * error(theirs, right) + torch.finfo(torch.float32).eps


@pytest.mark.parametrize("op", OPS)
def test_first_and_second_derivatives_by_finite_differences(op: str) -> None:
    inputs = Inputs.random(batch=2, channels=3, height=2, width=3, words=4)
    inputs.mask = torch.tensor([[True, True, False, True], [False, False, False, False]])
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))

    def call(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return inputs.call(op, tensors)

    assert torch.autograd.gradcheck(call, tensors)
    assert torch.autograd.gradgradcheck(call, tensors)


@pytest.mark.parametrize("op", OPS)
def test_third_derivatives_are_those_of_the_definition(op: str) -> None:
    def third(call: object) -> torch.Tensor:
        inputs = Inputs.random(batch=1, channels=2, height=2, width=2, words=3)
        tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
        value = call(inputs, tensors)[0].sin().sum()  # type: ignore[operator]
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, tensors[1], create_graph=True)
            value = slope.square().sum()
        return value

    fused = third(lambda inputs, tensors: inputs.call(op, tensors, attention=False))
    plain = third(lambda inputs, tensors: inputs.defined(op)[:1])
    torch.testing.assert_close(fused, plain)


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # torch's own, in jvp
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("transform", ["grad", "jacrev", "hessian", "vmap", "jvp", "grad of grad"])
def test_torch_func(op: str, transform: str) -> None:
    inputs = Inputs.random(batch=2, channels=3, height=2, width=2, words=3)
    features, keys, *rest = inputs.floating(op)

    def value(features: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return inputs.call(op, (features, keys, *rest), attention=False)[0].square().sum()

    calls = {
        "grad": lambda: torch.func.grad(value, 1)(features, keys),
        "jacrev": lambda: torch.func.jacrev(value, 0)(features, keys),
        "hessian": lambda: torch.func.hessian(value, 1)(features, keys),
        "vmap": lambda: torch.func.vmap(torch.func.grad(value), (0, None))(
            torch.stack([features, -features]), keys
        ),
        "jvp": lambda: torch.func.jvp(value, (features, keys), (keys.mean() * features, keys)),
        "grad of grad": lambda: torch.func.grad(
            lambda k: torch.func.grad(lambda r: value(r, k))(features).square().sum()
        )(keys),
    }
    fused = calls[transform]()
    with memgan.use_backend("reference"):
        torch.testing.assert_close(fused, calls[transform]())


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("attention", [False, True])
def test_torch_knows_the_ops(op: str, attention: bool) -> None:
    inputs = Inputs.random(batch=2, channels=3, height=4, width=5, words=3)
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
    forward = (*inputs.arguments(op, tensors), 0.7, attention, False)
    torch.library.opcheck(getattr(torch.ops.memgan, f"{op}_forward"), forward)
    results = inputs.defined(op)
    given = torch.randn_like(results[0]).requires_grad_()
    of_attention = torch.randn_like(results[1]).requires_grad_() if attention else None
    backward = (given, of_attention, *inputs.arguments(op, tensors), 0.7, False)
    torch.library.opcheck(getattr(torch.ops.memgan, f"{op}_backward"), backward)


@pytest.mark.parametrize("op", OPS)
def test_a_compiled_function_calls_the_kernel_for_every_size(op: str) -> None:
    calls = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        calls.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    def run(
        features: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, *gate: torch.Tensor
    ) -> torch.Tensor:
        return getattr(memgan, op)(features, keys, values, None, *gate)[0]

    compiled = torch.compile(run, fullgraph=True, dynamic=True, backend=backend)
    for size in (4, 5, 6, 9):
        inputs = Inputs.random(batch=2, channels=3, height=size, width=size + 1, words=3)
        torch.testing.assert_close(compiled(*inputs.floating(op)), run(*inputs.floating(op)))
    assert len(calls) == 1, "compiled again for another size"
    assert any(f"{op}_forward" in target for target in calls[0])


@pytest.mark.parametrize("op", OPS)
def test_export(op: str) -> None:
    inputs = Inputs.random(batch=2, channels=3, height=4, width=5, words=3)

    class Module(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return inputs.call(op, tensors, attention=False)[0]

    exported = torch.export.export(Module(), inputs.floating(op))
    torch.testing.assert_close(exported.module()(*inputs.floating(op)), Module()(*inputs.floating(op)))


@given(
    op=st.sampled_from(OPS),
    batch=st.integers(0, 3),
    channels=st.integers(1, 9),
    value_channels=st.integers(1, 9),
    height=st.integers(0, 9),
    width=st.integers(1, 70),
    words=st.integers(0, 6),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(["contiguous", "channels_last", "sliced", "expanded", "transposed"]),
    masked=st.booleans(),
)
def test_any_shape_layout_and_dtype(op: str, value_channels: int, layout: str, **shape: object) -> None:
    inputs = Inputs.random(
        **shape,
        value_channels=value_channels if op == "memory_read" else None,
        channels_last=layout == "channels_last",
    )
    r = inputs.features
    if layout == "sliced":
        inputs.features = torch.cat([r, r], 3)[:, :, :, : r.shape[3]]
    elif layout == "expanded":
        inputs.features = r[:, :1].expand(r.shape)
    elif layout == "transposed":
        inputs.features = r.transpose(2, 3).contiguous().transpose(2, 3)
    tensors = tuple(t.detach().requires_grad_() for t in inputs.floating(op))
    wide, exact = inputs.exact(op)
    fused = inputs.call(op, tensors)
    tolerance = 40 * torch.finfo(inputs.features.dtype).eps
    for mine, right in zip(fused, exact):
        assert mine.shape == right.shape
        assert error(mine, right) <= tolerance
    for mine, right in zip(gradients(fused, tensors), gradients(exact, wide.floating(op))):
        assert error(mine, right) <= tolerance


@pytest.mark.parametrize("op", OPS)
def test_every_element_of_every_result_is_written(op: str) -> None:
    inputs = Inputs.random(batch=2, channels=7, height=9, width=15, words=5, dtype=torch.float32)
    with nan_where_unwritten():
        tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
        results = inputs.call(op)
        for part in (*results, *gradients(results, tensors)):
            assert not part.isnan().any()


@pytest.mark.parametrize("op", OPS)
def test_results_do_not_depend_on_the_run_or_on_the_number_of_threads(op: str) -> None:
    inputs = Inputs.random(batch=3, channels=16, height=40, width=40, words=9, dtype=torch.float32)
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))

    def call() -> list[torch.Tensor]:
        results = inputs.call(op)
        return [*results, *gradients(results, tensors)]

    assert_same_on_any_number_of_threads(call)


@pytest.mark.parametrize(
    ("channels_last", "width"),
    [(False, 256), (True, 256), (False, 255)],
    ids=["contiguous", "channels_last", "rows between registers"],
)
def test_results_that_no_cache_holds(channels_last: bool, width: int) -> None:
    inputs = Inputs.random(
        batch=4,  # 67 MB of features, and as much of results
        channels=64,
        height=255,
        width=width,
        words=3,
        dtype=torch.float32,
        channels_last=channels_last,
    )
    tensors = tuple(t.requires_grad_() for t in inputs.floating("memory_refine"))
    fused, plain = inputs.call("memory_refine", attention=False)[:1], inputs.defined("memory_refine")[:1]
    assert error(fused[0], plain[0]) < 1e-5
    for mine, right in zip(gradients(fused, tensors), gradients(plain, tensors)):
        assert error(mine, right) < 3e-5


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_word_alone_gives_its_key_no_gradient_at_all(dtype: torch.dtype) -> None:
    inputs = Inputs.random(batch=2, channels=8, height=9, width=11, words=1, dtype=dtype, masked=False)
    tensors = tuple(t.requires_grad_() for t in inputs.floating("memory_refine"))
    _, of_keys, *_ = gradients(inputs.call("memory_refine", attention=False)[:1], tensors)
    assert not of_keys.any(), "its attention is 1, whatever the key"


@pytest.mark.parametrize("op", OPS)
def test_what_stands_in_padding_changes_nothing_and_gets_no_gradient(op: str) -> None:
    inputs = Inputs.random(batch=2, channels=5, height=6, width=7, words=6)
    inputs.mask = torch.tensor([[True, False, True, True, False, False], [False] * 6])
    clean = inputs.call(op)
    inputs.keys[~inputs.mask] = float("nan")
    inputs.values[~inputs.mask] = float("inf")
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
    results = inputs.call(op)
    for mine, right in zip(results, clean):
        assert torch.equal(mine, right)
    assert not results[1][:, :, :, :].transpose(0, 1)[:, 1].any(), "an image without words attends to nothing"
    _, of_keys, of_values, *_ = gradients(results, tensors)
    assert not of_keys[~inputs.mask].any()
    assert not of_values[~inputs.mask].any()


@pytest.mark.parametrize("detach_summary", [True, False])
def test_a_gradient_penalty_through_the_layer_is_the_definition_s(detach_summary: bool) -> None:
    made = torch.Generator().manual_seed(2)
    features = torch.randn(2, 4, 6, 5, generator=made, dtype=torch.float64)
    words = torch.randn(2, 3, 6, generator=made, dtype=torch.float64)
    memory = memgan.DynamicMemory(4, 6, detach_summary=detach_summary).double()

    def penalty() -> list[torch.Tensor]:
        memory.zero_grad()
        x = features.clone().requires_grad_()
        refined, _ = memory(x, words, torch.tensor([[1, 1, 0], [1, 1, 1]]))
        (slope,) = torch.autograd.grad(refined.square().sum(), x, create_graph=True)
        slope.square().sum().backward()
        return [p.grad.clone() for p in memory.parameters() if p.grad is not None]

    fused = penalty()
    with memgan.use_backend("reference"):
        plain = penalty()
    assert len(fused) == len(plain)
    assert any(part.abs().max() > 1e-3 for part in fused)
    for mine, right in zip(fused, plain):
        torch.testing.assert_close(mine, right)


def test_a_gate_per_channel_reads_with_the_kernel() -> None:
    inputs = Inputs.random(channels=4)
    weight, bias = torch.randn(4, 8, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    arguments = (inputs.features, inputs.keys, inputs.values, inputs.mask, weight, bias)
    fused, _ = memgan.memory_refine(*arguments)
    with memgan.use_backend("reference"):
        torch.testing.assert_close(fused, memgan.memory_refine(*arguments)[0])


def test_what_no_kernel_takes_is_told_with_the_reason() -> None:
    half = Inputs.random(dtype=torch.float16)
    assert "float16" in str(native.unsupported_reason("memory_refine", *half.arguments("memory_refine")))
    with pytest.raises(
        memgan.errors.BackendUnavailable, match=r"memory_refine: backend 'native' was forced .*float16"
    ):
        half.call("memory_refine")
    with memgan.use_backend("auto"):
        assert half.call("memory_refine")[0].dtype == torch.float16
    meta = torch.empty(1, 2, 3, 4, device="meta")
    assert "meta" in str(native.unsupported_reason("memory_read", meta))
