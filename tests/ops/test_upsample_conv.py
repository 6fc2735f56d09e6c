"""Nearest up-sampling and convolution: the short form is the definition, in value and every derivative."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import memgan
from memgan import RefinementStage, ResidualBlock, UpsampleBlock, upsample_conv
from memgan.ops.upsample_conv import FEWEST_PIXELS, folded_kernel, short_form, short_form_is_faster

SIZES = [(2, 3, 5, 1, 1), (1, 5, 2, 3, 7), (3, 1, 1, 4, 2), (2, 7, 4, 16, 17)]


def inputs(sizes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    b, c, d, h, w = sizes
    made = torch.Generator().manual_seed(5)
    shapes = ((b, c, h, w), (d, c, 3, 3), (d,))
    return tuple(torch.randn(shape, generator=made, dtype=dtype).requires_grad_() for shape in shapes)  # type: ignore[return-value]


def by_pixel(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Output pixel by output pixel, from the words of the definition."""
    height, width = 2 * x.shape[2], 2 * x.shape[3]
    rows = []
    for p in range(height):
        for q in range(width):
            total = bias.expand(len(x), -1)
            for a in range(3):
                for b in range(3):
                    if 0 <= p + a - 1 < height and 0 <= q + b - 1 < width:
                        seen = x[:, :, (p + a - 1) // 2, (q + b - 1) // 2]
                        total = total + seen @ weight[:, :, a, b].T
            rows.append(total)
    return torch.stack(rows, 2).unflatten(2, (height, width))


@pytest.mark.parametrize("sizes", SIZES[:3])
@pytest.mark.parametrize("form", [short_form, upsample_conv])
def test_both_forms_are_what_the_words_say(form: object, sizes: tuple[int, ...]) -> None:
    x, weight, bias = inputs(sizes, torch.float64)
    torch.testing.assert_close(form(x, weight, bias), by_pixel(x, weight, bias), rtol=1e-12, atol=1e-12)  # type: ignore[operator]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("sizes", SIZES)
def test_short_form_and_its_gradients_equal_the_definition(
    sizes: tuple[int, ...], layout: torch.memory_format
) -> None:
    leaves = inputs(sizes)
    x, weight, bias = (
        leaves[0].contiguous(memory_format=layout),
        leaves[1].contiguous(memory_format=layout),
        leaves[2],
    )
    with memgan.use_backend("reference"):
        want = upsample_conv(x, weight, bias)
    got = short_form(x, weight, bias)
    slope = torch.randn_like(want)
    wants = torch.autograd.grad(want, leaves, slope)
    gots = torch.autograd.grad(got, leaves, slope)
    for one, other in zip((got, *gots), (want, *wants), strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()
    if layout == torch.channels_last and x.shape[2] > 1:
        assert got.is_contiguous(memory_format=layout)


def test_first_and_second_derivatives_are_exact() -> None:
    arguments = inputs(SIZES[1], torch.float64)
    assert torch.autograd.gradcheck(short_form, arguments)
    assert torch.autograd.gradgradcheck(short_form, arguments)


def test_the_short_form_runs_where_it_is_faster_unless_the_definition_is_asked_for() -> None:
    x, weight, _ = inputs((1, 2, 3, 16, 16))

    def forward_op() -> str:
        return upsample_conv(x, weight).grad_fn.next_functions[1][0].name()  # type: ignore[union-attr]

    kernel_passed_on = forward_op()
    with memgan.use_backend("reference"):
        assert forward_op() != kernel_passed_on
    assert short_form_is_faster(x)
    assert not short_form_is_faster(x[:, :, :15])
    assert not short_form_is_faster(x.double())
    assert FEWEST_PIXELS == 16 * 16


def test_under_autocast_weights_are_added_before_they_are_rounded() -> None:
    x, weight, _ = inputs((2, 64, 8, 16, 16))
    want = upsample_conv(x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        got = upsample_conv(x.bfloat16(), weight)
    # In the memory format of the op: without bfloat16 of its own a CPU sums in another order in another format.
    kernel = folded_kernel(weight).bfloat16().contiguous(memory_format=torch.channels_last)
    rounded = F.conv_transpose2d(x.bfloat16(), kernel, stride=2, padding=1)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, rounded)
    assert (got.float() - want).norm() < 5e-3 * want.norm()


def test_wrong_arguments_are_named() -> None:
    x, weight, bias = inputs((2, 3, 4, 5, 5))
    with pytest.raises(
        memgan.ShapeError, match=r"upsample_conv: `weight` must be \(D, C, 3, 3\) = \(any, 3, 3, 3\)"
    ):
        upsample_conv(x, weight[:, :2])
    with pytest.raises(memgan.ShapeError, match="`bias`"):
        upsample_conv(x, weight, bias[:1])
    with pytest.raises(memgan.ShapeError, match=r"`image_features` must have pixels, got \(2, 3, 0, 5\)"):
        upsample_conv(x[:, :, :0], weight)
    with pytest.raises(memgan.DtypeError, match="`weight` must have the dtype"):
        upsample_conv(x, weight.double())


def test_a_block_computes_the_same_in_both_forms_and_keeps_its_names() -> None:
    torch.manual_seed(1)
    block, x = UpsampleBlock(6, 4), torch.randn(2, 6, 16, 16)
    assert set(block.state_dict()) >= {"conv.weight", "norm.running_mean"}
    grads = []
    for backend in ("reference", "auto"):
        block.zero_grad()
        with memgan.use_backend(backend):  # type: ignore[arg-type]
            out = block(x)
        out.square().sum().backward()
        grads.append([out.detach(), *(p.grad for p in block.parameters())])
    for one, other in zip(*grads, strict=True):
        assert (one - other).norm() <= 1e-5 * one.norm()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_input_beside_itself_needs_half_of_the_first_convolution(layout: torch.memory_format) -> None:
    torch.manual_seed(2)
    block = ResidualBlock(6).to(memory_format=layout)  # type: ignore[call-overload]
    results = []
    for twice in (False, True):
        block.zero_grad()
        x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(3)).contiguous(
            memory_format=layout
        )
        x.requires_grad_()
        out = block(x, twice=True) if twice else block(torch.cat([x, x], 1))
        assert out.is_contiguous(memory_format=layout)
        out.sin().sum().backward()
        results.append([out.detach(), x.grad, *(p.grad for p in block.parameters())])
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() <= 1e-5 * one.norm() + 1e-6
    with pytest.raises(memgan.ShapeError, match=r"`x` must be \(B, C/2, H, W\)"):
        block(torch.zeros(2, 6, 5, 7), twice=True)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_stage_with_its_response_beside_itself_is_unchanged(blocks: int) -> None:
    torch.manual_seed(4)
    stage = RefinementStage(4, 6, residual_blocks=blocks)
    features, words = torch.randn(2, 4, 16, 16), torch.randn(2, 3, 6)
    response, _ = stage.memory(features, words)
    want = stage.upsample(stage.residual(torch.cat([response, response], 1)))
    got, _ = stage(features, words)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
