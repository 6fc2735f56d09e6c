"""Pixels take one path, whoever made them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.damage import KINDS, blur, damage, pattern
from reference_models.dmgan.evaluation.images import network_input, reduce_to, to_uint8


def test_eight_bit_images_survive_the_way_to_the_networks_and_back() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_uint8(network_input(images)), images)


def test_rounding_and_truncation_differ_as_named() -> None:
    value = torch.tensor(100.6 / 127.5 - 1).expand(1, 3, 4, 4)
    assert to_uint8(value).unique().tolist() == [101]
    assert to_uint8(value, "truncate").unique().tolist() == [100]
    assert to_uint8(torch.tensor([-3.0, 3.0]).view(1, 1, 1, 2)).flatten().tolist() == [0, 255]


def test_reduction_averages_areas() -> None:
    board = torch.tensor([0, 100], dtype=torch.uint8).repeat(64)  # columns 0, 100, 0, 100, ...
    image = board[None, None, None].expand(1, 3, 128, 128)
    assert reduce_to(image, 64).unique().tolist() == [50]
    same = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert reduce_to(same, 64) is same
    with pytest.raises(DataError, match=r"at least 64 pixels, got \(32, 32\)"):
        reduce_to(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 64)


def test_only_bytes_are_taken() -> None:
    with pytest.raises(DataError, match="uint8 with 4 axes"):
        network_input(torch.zeros(1, 3, 8, 8))
    rows = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    rows.setflags(write=False)
    assert network_input(rows).shape == (2, 3, 8, 8)


def test_damage_reports_what_it_did() -> None:
    images = torch.rand(64, 3, 16, 16) * 2 - 1
    result, strengths = damage(images, torch.Generator().manual_seed(1))
    changed = (result != images).flatten(1).any(1)
    assert torch.equal(changed, strengths.sum(1) > 0)
    assert 0 < int(changed.sum()) < 64
    assert ((strengths > 0).sum(1) <= 1).all()
    assert (strengths > 0).any(0).sum() == len(KINDS)


def test_blur_keeps_the_mean_and_pattern_keeps_the_range() -> None:
    flat = torch.full((2, 3, 20, 20), 0.25)
    torch.testing.assert_close(blur(flat, 1.5), flat)
    waves = pattern(flat, torch.tensor([0.0, 5.0]), torch.tensor([4.0, 4.0]), torch.zeros(2))
    assert torch.equal(waves[0], flat[0])
    assert waves[1].amax() == 1
    assert waves[1].amin() == -1
