"""Image encoders: shapes, what is frozen, and a published weight file by path."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest
import torch

from reference_models.dmgan.config import ImageEncoderConfig, birds_demo, cub
from reference_models.dmgan.errors import CheckpointError, ConfigError
from reference_models.dmgan.image_encoder import (
    InceptionImageEncoder,
    SmallImageEncoder,
    build_image_encoder,
    trained_parameters,
)
from reference_models.dmgan.state_file import sha256


@pytest.fixture(scope="module")
def inception() -> InceptionImageEncoder:
    """One encoder for the module: Inception takes half a second to make."""
    return InceptionImageEncoder(16)


def test_small_encoder_has_a_region_for_every_eight_pixels() -> None:
    encoder = build_image_encoder(birds_demo())
    assert 0.5e6 < sum(parameter.numel() for parameter in encoder.parameters()) < 1.5e6
    regions, code = encoder(torch.randn(2, 3, 64, 64))
    assert regions.shape == (2, 128, 8, 8)
    assert code.shape == (2, 128)


@pytest.mark.parametrize("size", [16, 48, 128, 256])
def test_small_encoder_resizes_what_is_of_another_size(size: int) -> None:
    encoder = SmallImageEncoder(6, width=2, image_size=32).eval()
    regions, code = encoder(torch.randn(2, 3, size, size))
    assert regions.shape == (2, 6, 4, 4)
    assert code.shape == (2, 6)


def test_a_flat_image_reads_the_same_at_every_size() -> None:
    encoder = SmallImageEncoder(6, width=2, image_size=32).eval()
    codes = [encoder(torch.full((1, 3, size, size), 0.3))[1] for size in (32, 64, 256)]
    torch.testing.assert_close(codes[0], codes[1])
    torch.testing.assert_close(codes[0], codes[2])


def test_inception_trains_its_two_projections_only(inception: InceptionImageEncoder) -> None:
    inception.train()
    before = {key: value.clone() for key, value in inception.trunk.state_dict().items()}
    images = torch.randn(1, 3, 64, 64, requires_grad=True)
    regions, code = inception(images)
    assert regions.shape == (1, 16, 17, 17)
    assert code.shape == (1, 16)
    (regions.sum() + code.sum()).backward()
    assert images.grad.abs().sum() > 0  # the generator learns through the frozen trunk
    assert all(torch.equal(value, before[key]) for key, value in inception.trunk.state_dict().items())
    names = {name for name, parameter in inception.named_parameters() if parameter.grad is not None}
    assert names == {"regions.weight", "code.weight", "code.bias"}
    assert len(trained_parameters(inception)) == 3


def test_a_published_weight_file_loads_and_its_hash_is_told(
    inception: InceptionImageEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "inception.pth"
    state = inception.trunk.state_dict()
    torch.save(state | {"fc.weight": torch.zeros(2), "AuxLogits.fc.weight": torch.zeros(2)}, path)
    config = dataclasses.replace(
        cub(), image_encoder=ImageEncoderConfig(kind="inception", weights=str(path), image_size=299)
    )
    with caplog.at_level(logging.INFO):
        loaded = build_image_encoder(config)
    assert sha256(path) in caplog.text
    assert all(torch.equal(value, state[key]) for key, value in loaded.trunk.state_dict().items())

    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"inception\.pth"):
        build_image_encoder(config)
    torch.save({"conv1.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="torchvision's layout"):
        build_image_encoder(config)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"inception\.pth"):
        build_image_encoder(config)


def test_wrong_options_are_named() -> None:
    config = dataclasses.replace(birds_demo(), image_encoder=ImageEncoderConfig(image_size=60))
    with pytest.raises(ConfigError, match="multiple of 8"):
        build_image_encoder(config)
