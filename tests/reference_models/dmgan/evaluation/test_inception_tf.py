"""The Inception variants: pools, normalisations, and what a weight file must be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.evaluation import inception_tf
from reference_models.dmgan.evaluation.inception_tf import ScoreInception, load_score_inception, normalise
from reference_models.dmgan.inception import InceptionE


def test_averages_at_the_border_ignore_the_padding() -> None:
    ones = torch.ones(1, 2, 5, 7)
    assert torch.equal(inception_tf._average(ones), ones)
    assert F.avg_pool2d(ones, 3, 1, 1)[0, 0, 0, 0] == pytest.approx(4 / 9)


@pytest.mark.parametrize("pool", ["average", "maximum"])
def test_only_the_pooled_branch_of_the_last_blocks_differs(pool: str) -> None:
    block = inception_tf.TfInceptionE(16, pool).eval()  # type: ignore[arg-type]
    plain = InceptionE(16).eval()
    plain.load_state_dict(block.state_dict())
    x = torch.randn(1, 16, 5, 5)
    ours, theirs = block(x), plain(x)
    assert torch.equal(ours[:, :1856], theirs[:, :1856])
    pooled = F.max_pool2d(x, 3, 1, 1) if pool == "maximum" else inception_tf._average(x)
    assert torch.equal(ours[:, 1856:], block.branch_pool(pooled))
    assert not torch.equal(ours[:, 1856:], theirs[:, 1856:])


def test_the_released_scale_is_the_private_one() -> None:
    pixels = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    red = normalise(pixels, "released")[0, 0, 0]
    assert red.tolist() == pytest.approx([-0.03, 0.428], abs=1e-6)
    assert normalise(pixels, "tf")[0, :, 0].tolist() == [[-1.0, 1.0]] * 3


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("inception") / "tf.pth"
    torch.save(ScoreInception("tf").state_dict(), path)
    return path


def test_a_weight_file_gives_features_and_probabilities_without_bias(weights: Path) -> None:
    network = load_score_inception(weights, "tf")
    assert len(network.sha256) == 64
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    features, probabilities = network.scores(images)
    assert features.shape == (2, 2048)
    torch.testing.assert_close(probabilities, (features @ network.fc.weight.T).softmax(1))
    with torch.no_grad():
        network.fc.bias.add_(torch.randn(1008))
    assert torch.equal(network.scores(images)[1], probabilities)


def test_every_wrong_weight_file_is_refused_with_the_reason(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no Inception weight file at .*nothing\.pth"):
        load_score_inception(tmp_path / "nothing.pth", "tf")
    with pytest.raises(CheckpointError, match="expected abc123"):
        load_score_inception(weights, "tf", sha256="abc123")
    with pytest.raises(CheckpointError, match="1000 classes.*got 1008"):
        load_score_inception(weights, "released")
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_score_inception(tmp_path / "cut.pth", "tf")
    for content, told in (
        ([1], "holds a list, not a scoring network's state dict"),
        (torch.zeros(2), "holds a Tensor"),
        ({"fc.weight": 3}, "'fc.weight' is int"),
        ({7: torch.zeros(2)}, "7 is Tensor"),
        ({"fc.weight": torch.tensor(1.0)}, "got none"),
    ):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match=told):
            load_score_inception(tmp_path / "other.pth", "tf")
    (tmp_path / "text.pth").write_text("hello, these are no weights\n")
    with pytest.raises(CheckpointError, match=r"text\.pth is not a file that torch\.save wrote"):
        load_score_inception(tmp_path / "text.pth", "tf")
    state = torch.load(weights, weights_only=True)
    del state["Mixed_6a.branch3x3.conv.weight"]
    torch.save(state, tmp_path / "missing.pth")
    with pytest.raises(CheckpointError, match=r"Mixed_6a\.branch3x3\.conv\.weight"):
        load_score_inception(tmp_path / "missing.pth", "tf")
