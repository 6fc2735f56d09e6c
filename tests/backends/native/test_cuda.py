"""The compiled CUDA kernels on a GPU: results, derivatives, streams, graphs, devices. Emulated they run everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch

import memgan
from memgan.backends import native, reference
from tests.backends.native.inputs import Inputs, error, gradients
from tests.backends.native.test_memory_project import project_inputs
from tests.backends.native.test_memory_write import write_inputs

pytestmark = pytest.mark.gpu

OPS = ("memory_read", "memory_refine")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SHAPES = {
    "primes": {"batch": 3, "channels": 5, "height": 7, "width": 11, "words": 13},
    "paper": {"batch": 2, "channels": 64, "height": 32, "width": 32, "words": 18},
    "no tile": {"batch": 2, "channels": 67, "height": 23, "width": 9, "words": 5},
    "many words": {"batch": 2, "channels": 128, "height": 24, "width": 16, "words": 77},
    "the most that is fast": {"batch": 1, "channels": 256, "height": 16, "width": 16, "words": 128},
    "beyond": {"batch": 1, "channels": 264, "height": 8, "width": 8, "words": 130},
    "one of each": {"batch": 1, "channels": 1, "height": 1, "width": 1, "words": 1},
}


def on(device: str, inputs: Inputs) -> Inputs:
    parts = (getattr(inputs, field.name) for field in fields(inputs))
    return Inputs(*(part.to(device) if isinstance(part, torch.Tensor) else part for part in parts))


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", OPS)
def test_results_and_gradients_are_as_exact_as_the_definition_s(
    op: str, shape: str, dtype: torch.dtype, channels_last: bool
) -> None:
    inputs = on("cuda", Inputs.random(**SHAPES[shape], dtype=dtype, channels_last=channels_last))
    inputs.scale = inputs.features.shape[1] ** -0.5  # attention that is no single word's
    assert native.unsupported_reason(op, *inputs.arguments(op)) is None
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
    wide, exact = inputs.exact(op)
    plain, fused = inputs.defined(op), inputs.call(op)
    assert fused[0].stride() == inputs.features.stride() or fused[0].shape[1] == 1
    pairs = [*zip(fused, plain, exact)]
    pairs += zip(gradients(fused, tensors), gradients(plain, tensors), gradients(exact, wide.floating(op)))
    # Rounding that grows with the terms of a sum: the definition's sums are blocked, a kernel's may run one by one.
    terms = max(1.0, inputs.features.shape[1] / 32)
    unit = torch.finfo(dtype).eps * (40 if dtype == torch.float64 else 2) * terms
    worst = max(error(theirs, right) for _, theirs, right in pairs)
    largest = max(float(right.detach().abs().max()) for _, _, right in pairs)
    for mine, theirs, right in pairs:
        assert mine.dtype == dtype
        if not right.any():  # the scores' gradients of a single word: nothing but rounding
            assert mine.abs().max() <= unit * largest
            continue
        # A single number (the bias's gradient, a sum of hundreds of either sign) is exact or not by luck.
        allowed = 4 * worst if right.numel() == 1 else error(theirs, right)
        assert error(mine, right) <= 2 * allowed + unit


@pytest.mark.parametrize("op", OPS)
def test_tf32_rounds_factors_when_torch_allows_it_and_only_then(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = on("cuda", Inputs.random(**SHAPES["paper"], dtype=torch.float32))
    tensors = tuple(t.requires_grad_() for t in inputs.floating(op))
    wide, exact = inputs.exact(op)
    right = (*exact, *gradients(exact, wide.floating(op)))
    errors = {}
    for allowed in (False, True):
        monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", allowed)
        results = inputs.call(op)
        errors[allowed] = max(map(error, (*results, *gradients(results, tensors)), right))
    assert errors[False] < 2.0**-18
    assert errors[False] < errors[True] < 2.0**-7


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 5, 7, 11, 13), (10, 18, 256, 64, 128), (2, 77, 64, 128, 130)], ids=str)
def test_a_write_is_as_exact_as_the_definition_s(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype
) -> None:
    inputs = tuple(t.detach().cuda().requires_grad_() for t in write_inputs(shape, dtype))
    wide = tuple(t.detach().double().requires_grad_() for t in inputs)
    fused, plain, exact = (
        memgan.memory_write(*inputs),
        *(reference.memory_write(*x) for x in (inputs, wide)),
    )
    unit = torch.finfo(dtype).eps * (40 if dtype == torch.float64 else 2)
    pairs = [(fused, plain, exact)]
    pairs += zip(gradients((fused,), inputs), gradients((plain,), inputs), gradients((exact,), wide))
    for mine, theirs, right in pairs:
        assert error(mine, right) <= 2 * error(theirs, right) + unit


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_keys_and_values_are_as_exact_as_the_definition_s(dtype: torch.dtype, masked: bool) -> None:
    """Written and projected, with a NaN in padding; only what is real is read, as in the layer."""
    inputs = [t.detach().cuda() for t in write_inputs((10, 18, 256, 64, 128), dtype)]
    inputs += [t.detach().cuda() for t in project_inputs((10, 18, 128, 64, 64), dtype)[1:]]
    mask = (torch.arange(18) < torch.arange(9, 19)[:, None]).cuda() if masked else None
    if mask is not None:
        inputs[0][~mask] = float("nan")
    wide = [t.double().requires_grad_() for t in inputs]
    tensors = [t.requires_grad_() for t in inputs]
    assert native.unsupported_reason("memory_project", inputs[0]) is None

    def call(ops: object, given: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        memory = ops.memory_write(*given[:8], mask)  # type: ignore[attr-defined]
        return tuple(ops.memory_project(memory, *given[8:]))  # type: ignore[attr-defined]

    fused, plain, exact = call(memgan, tensors), call(reference, tensors), call(reference, wide)
    unit = torch.finfo(dtype).eps * (
        40 if dtype == torch.float64 else 4
    )  # of two ops, each stored in the dtype
    pairs = [*zip(fused, plain, exact)]
    pairs += zip(*(gradients(x, tuple(y)) for x, y in ((fused, tensors), (plain, tensors), (exact, wide))))
    for mine, theirs, right in pairs:
        assert error(mine, right) <= 2 * error(theirs, right) + unit


@pytest.mark.parametrize("op", [*OPS, "memory_write", "memory_project"])
def test_first_and_second_derivatives_by_finite_differences(op: str) -> None:
    if op == "memory_write":
        tensors = tuple(t.detach().cuda().requires_grad_() for t in write_inputs((2, 3, 4, 3, 5)))
        call = memgan.memory_write
    elif op == "memory_project":
        tensors = tuple(t.detach().cuda().requires_grad_() for t in project_inputs((2, 3, 5, 7, 4)))
        call = memgan.memory_project
    else:
        inputs = on("cuda", Inputs.random(batch=2, channels=3, height=2, width=3, words=4))
        inputs.mask = torch.tensor([[True, True, False, True], [False] * 4], device="cuda")
        tensors = tuple(t.requires_grad_() for t in inputs.floating(op))

        def call(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return inputs.call(op, tensors)

    assert torch.autograd.gradcheck(call, tensors)
    assert torch.autograd.gradgradcheck(call, tensors)


def step(dtype: torch.dtype = torch.float32) -> tuple[Inputs, tuple[torch.Tensor, ...]]:
    inputs = on("cuda", Inputs.random(**SHAPES["paper"], dtype=dtype))
    return inputs, tuple(t.requires_grad_() for t in inputs.floating("memory_refine"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_element_is_written_and_none_depends_on_the_run(dtype: torch.dtype) -> None:
    seen = []
    try:  # empty tensors are filled with NaN in this mode
        torch.use_deterministic_algorithms(True)
        for _ in range(3):
            inputs, tensors = step(dtype)
            results = inputs.call("memory_refine")
            write = tuple(
                t.detach().cuda().requires_grad_() for t in write_inputs((10, 18, 37, 29, 128), dtype)
            )
            memory = memgan.memory_write(*write)
            seen.append([*results, *gradients(results, tensors), memory, *gradients((memory,), write)])
    finally:
        torch.use_deterministic_algorithms(False)
    assert not any(part.isnan().any() for part in seen[0])
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other))


def test_launches_are_on_the_stream_that_torch_is_on() -> None:
    inputs, tensors = step()
    right = inputs.call("memory_refine")
    right = (*right, *gradients(right, tensors))
    for tensor in tensors:
        tensor.data.mul_(1.5)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # a launch on another stream would not wait for this
        for tensor in tensors:
            tensor.data.div_(1.5)
        found = inputs.call("memory_refine")
        found = (*found, *gradients(found, tensors))
    torch.cuda.synchronize()
    for mine, theirs in zip(found, right):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_forward_and_backward_are_captured_in_a_graph_and_replayed_on_other_numbers() -> None:
    inputs, tensors = step()
    write = tuple(t.detach().cuda().float().requires_grad_() for t in write_inputs((3, 5, 7, 11, 13)))
    given = torch.randn_like(inputs.features)

    def run() -> tuple[torch.Tensor, ...]:
        (refined,) = inputs.call("memory_refine", attention=False)
        memory = memgan.memory_write(*write)
        of_write = torch.autograd.grad(memory.square().sum(), write)
        return (refined, *torch.autograd.grad(refined, tensors, given), memory, *of_write)

    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        captured = run()
    for tensor in (*tensors, *write):
        tensor.data.mul_(0.5)
    graph.replay()
    torch.cuda.synchronize()
    for mine, right in zip(captured, run()):
        assert torch.equal(mine, right)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_device_of_the_tensors_is_used_whichever_is_current() -> None:
    inputs, tensors = step()
    right = inputs.call("memory_refine")
    right = (*right, *gradients(right, tensors))
    other = on("cuda:1", inputs)
    moved = tuple(t.detach().requires_grad_() for t in other.floating("memory_refine"))
    found = other.call("memory_refine", moved)
    for mine, theirs in zip((*found, *gradients(found, moved)), right):
        assert mine.device.index == 1
        torch.testing.assert_close(mine.cpu(), theirs.cpu())


def test_what_stands_in_padding_changes_nothing_and_gets_no_gradient() -> None:
    inputs, _ = step()
    inputs.mask = torch.rand(inputs.keys.shape[:2], device="cuda") > 0.4
    clean = inputs.call("memory_refine")
    inputs.keys.data[~inputs.mask] = float("nan")
    inputs.values.data[~inputs.mask] = float("inf")
    tensors = tuple(t.detach().requires_grad_() for t in inputs.floating("memory_refine"))
    results = inputs.call("memory_refine", tensors)
    assert all(torch.equal(mine, right) for mine, right in zip(results, clean))
    _, of_keys, of_values, *_ = gradients(results, tensors)
    assert not of_keys[~inputs.mask].any()
    assert not of_values[~inputs.mask].any()


@pytest.mark.parametrize("detach_summary", [True, False])
def test_a_gradient_penalty_through_the_layer_is_the_definition_s(detach_summary: bool) -> None:
    made = torch.Generator().manual_seed(2)
    features = torch.randn(2, 4, 6, 5, generator=made, dtype=torch.float64).cuda()
    words = torch.randn(2, 3, 6, generator=made, dtype=torch.float64).cuda()
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]], device="cuda")
    memory = memgan.DynamicMemory(4, 6, detach_summary=detach_summary).double().cuda()

    def penalty() -> list[torch.Tensor]:
        memory.zero_grad()
        x = features.clone().requires_grad_()
        (slope,) = torch.autograd.grad(memory(x, words, mask)[0].square().sum(), x, create_graph=True)
        slope.square().sum().backward()
        return [p.grad.clone() for p in memory.parameters() if p.grad is not None]

    fused = penalty()
    with memgan.use_backend("reference"):
        plain = penalty()
    assert any(part.abs().max() > 1e-3 for part in fused)
    for mine, right in zip(fused, plain, strict=True):
        torch.testing.assert_close(mine, right)


def launches(work: Callable[[], object]) -> list[str]:
    """Kernels that ``work`` starts."""
    work()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    on_device = [
        event.name for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA
    ]
    return [name for name in on_device if not name.startswith("Mem")]


@pytest.mark.parametrize("masked", [False, True])
def test_a_forward_of_the_layer_is_four_launches(masked: bool) -> None:
    memory = memgan.DynamicMemory(64, 256).cuda()
    features, words = torch.randn(2, 64, 32, 32, device="cuda"), torch.randn(2, 18, 256, device="cuda")
    mask = torch.ones(2, 18, dtype=torch.bool, device="cuda") if masked else None
    with torch.no_grad():
        names = launches(lambda: memory(features, words, mask))
    assert len(names) == 4, names


def test_launches_of_each_op() -> None:
    inputs, _ = step()
    write = tuple(t.detach().cuda().float() for t in write_inputs((10, 18, 256, 64, 128)))
    write = (*write, torch.ones(10, 18, dtype=torch.bool, device="cuda"))
    grad = torch.randn(10, 18, 128, device="cuda")
    project = tuple(t.detach().cuda().float() for t in project_inputs((10, 18, 128, 64, 64)))
    with torch.no_grad():
        assert len(launches(lambda: inputs.call("memory_refine", attention=False))) == 1
        assert len(launches(lambda: memgan.memory_write(*write))) == 1
        assert len(launches(lambda: memgan.memory_project(*project))) == 1
        assert len(launches(lambda: torch.ops.memgan.memory_write_backward(grad, *write))) == 3


def test_autocast_and_a_compiled_layer() -> None:
    memory = memgan.DynamicMemory(64, 256).cuda()
    features, words = torch.randn(2, 64, 16, 16, device="cuda"), torch.randn(2, 18, 256, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        cast = memory(features, words)[0]
        compiled = torch.compile(memory, fullgraph=True, backend="aot_eager")(features, words)[0]
    assert cast.dtype == torch.bfloat16
    torch.testing.assert_close(compiled, cast)
    with memgan.use_backend("reference"):
        assert error(cast, memory.double()(features.double(), words.double())[0]) < 0.05
