"""Spectral norm: the release's order of updates, in every mode and precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from reference_models.dmgan.spectral_norm import SpectralConv2d, power_iteration


def test_v_is_updated_before_u() -> None:
    weight, u = torch.randn(5, 3, 2, 2), F.normalize(torch.randn(5), dim=0)
    matrix = weight.reshape(5, 12)
    v = matrix.T @ u / (matrix.T @ u).norm()
    new_u = matrix @ v / (matrix @ v).norm()
    got = power_iteration(weight, u)
    for value, expected in zip(got, (new_u, v, new_u @ matrix @ v), strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("training", [True, False])
def test_each_forward_moves_the_estimate_and_converges_to_norm_one(training: bool) -> None:
    layer = SpectralConv2d(3, 7, 3, padding=1).train(training)
    before = layer.weight_u.clone()
    layer(torch.randn(2, 3, 5, 5))
    assert not torch.equal(before, layer.weight_u)
    for _ in range(200):
        layer(torch.randn(1, 3, 5, 5))
    norm = torch.linalg.matrix_norm(layer.normalised_weight().flatten(1), 2)
    assert norm.item() == pytest.approx(1.0, abs=1e-4)


def test_two_forwards_before_one_backward_give_each_its_own_gradient() -> None:
    torch.manual_seed(3)
    layer = SpectralConv2d(2, 3, 3).double()
    u = layer.weight_u.clone()
    first, second = torch.randn(2, 1, 2, 4, 4, dtype=torch.float64)
    (layer(first).square().sum() + layer(second).square().sum()).backward()

    weight = layer.weight.detach().clone().requires_grad_()
    total = 0
    for images in (first, second):
        u, _, sigma = power_iteration(weight, u)
        total = total + F.conv2d(images, weight / sigma, layer.bias.detach()).square().sum()
    (expected,) = torch.autograd.grad(total, weight)
    torch.testing.assert_close(layer.weight.grad, expected)


def test_autocast_leaves_the_iteration_in_float32() -> None:
    layer, images = SpectralConv2d(4, 6, 3), torch.randn(2, 4, 8, 8)
    twin = SpectralConv2d(4, 6, 3)
    twin.load_state_dict(layer.state_dict())
    layer(images)
    with torch.autocast("cpu", torch.bfloat16):
        out = twin(images)
    assert out.dtype == torch.bfloat16
    assert torch.equal(layer.weight_u, twin.weight_u)
    assert torch.equal(layer.weight_v, twin.weight_v)


def test_the_estimate_is_saved_with_the_model() -> None:
    layer = SpectralConv2d(2, 3, 3)
    assert set(layer.state_dict()) == {"weight", "bias", "weight_u", "weight_v"}
