"""Other people's images: two folders in, a result with its protocol out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.features import SceneNet
from reference_models.dmgan.evaluation.folders import image_files, read_image, score_folders
from reference_models.dmgan.evaluation.inception_tf import ScoreInception
from reference_models.dmgan.evaluation.protocol import ProtocolMismatch, compare


def write(folder: Path, count: int, seed: int, suffix: str = ".png", size: int = 64) -> Path:
    rng = np.random.default_rng(seed)
    (folder / "below").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "below" / f"{index:03d}{suffix}")
    return folder


@pytest.fixture
def network() -> SceneNet:
    torch.manual_seed(0)
    net = SceneNet((3, 2), 4, features=6, width=8).eval().requires_grad_(False)
    net.sha256 = "a" * 64  # type: ignore[assignment]
    return net


def test_a_folder_scored_with_itself_has_no_distance(network: SceneNet, tmp_path: Path) -> None:
    real = write(tmp_path / "real", 12, 1)
    result = score_folders(real, real, network, batch=5)
    assert result["scores"]["fid"]["value"] == pytest.approx(0, abs=1e-9)
    assert result["scores"]["precision"]["value"] == 1.0
    assert "inception_score" not in result["scores"]
    protocol = result["protocol"]
    assert (protocol["name"], protocol["count"], protocol["reference_count"]) == ("folders", 12, 12)
    assert protocol["extractors"] == {"features": "a" * 64}


def test_format_and_count_are_part_of_the_protocol(network: SceneNet, tmp_path: Path) -> None:
    real = write(tmp_path / "real", 8, 1)
    png, jpeg = write(tmp_path / "png", 8, 2), write(tmp_path / "jpeg", 8, 2, ".jpg")
    few = write(tmp_path / "few", 7, 2)
    results = {name: score_folders(real, tmp_path / name, network) for name in ("png", "jpeg", "few")}
    with pytest.raises(
        ProtocolMismatch, match="file_format is 'real png, fake png' and 'real png, fake jpeg'"
    ):
        compare(results["png"], results["jpeg"])
    with pytest.raises(ProtocolMismatch, match="count is 8 and 7"):
        compare(results["png"], results["few"])
    assert png != jpeg != few


def test_scores_against_other_real_images_are_not_compared(network: SceneNet, tmp_path: Path) -> None:
    fake = write(tmp_path / "fake", 8, 3)
    first, copy, other = (
        score_folders(write(tmp_path / name, 8, seed), fake, network)
        for name, seed in (("first", 1), ("copy", 1), ("other", 2))
    )
    assert compare(first, copy)["fid.value"] == 0
    with pytest.raises(ProtocolMismatch, match="reference_sha256 is"):
        compare(first, other)


def test_an_inception_gives_a_score_too(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = ScoreInception("tf").eval().requires_grad_(False)
    network.sha256 = "b" * 64  # type: ignore[assignment]
    folder = write(tmp_path / "real", 5, 1, size=32)
    result = score_folders(folder, folder, network, splits=2)
    assert result["protocol"]["name"] == "tf"
    assert result["scores"]["inception_score"]["value"] >= 1.0


def test_what_is_no_image_is_named(network: SceneNet, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder at"):
        image_files(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        image_files(tmp_path / "empty")
    real = write(tmp_path / "real", 6, 1)
    with pytest.raises(DataError, match="`--fake` must hold at least 5 images, got 3"):
        score_folders(real, write(tmp_path / "three", 3, 2), network)
    whole = real / "below" / "003.png"
    whole.write_bytes(whole.read_bytes()[:700])
    with pytest.raises(DataError, match=r"003\.png is truncated or damaged"):
        score_folders(real, real, network)


def test_an_image_is_decoded_as_data_sets_decode_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (4, 4), (200, 0, 0, 0)).save(path)
    assert (read_image(path) == 255).all(), "what lies under transparent pixels is arbitrary"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(DataError, match=r"a\.png is refused: .*decompression bomb"):
        read_image(path)
