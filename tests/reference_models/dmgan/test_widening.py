"""A width of the noise is chosen by a score and lives in the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from memgan import use_backend
from reference_models.dmgan import widening
from reference_models.dmgan.data.birds.dataset import birds_vocabulary
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.image_encoder import build_image_encoder
from reference_models.dmgan.initialisation import initialise
from reference_models.dmgan.sampling import SHIPPED, generate, load_model
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.weights import Encoders, load_generator, read_config, save_model
from tests.reference_models.dmgan.ablation.conftest import small_config


@pytest.fixture
def generator(model_folder: Path) -> Iterator[Generator]:
    with use_backend("reference"):
        yield load_generator(model_folder, read_config(model_folder)).double()


@pytest.fixture
def shipped(model_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "shipped"
    shutil.copytree(model_folder, folder)
    (folder / "how.json").write_text(json.dumps({"commands": ["train", "ship"], "images": 8}))
    (folder / "evaluation.json").write_text("{}")
    return folder


def draw(generator: Generator, scale: float = 1.0) -> list[Tensor]:
    torch.manual_seed(0)
    noise, condition, sentence, words = (
        torch.randn(3, *shape, dtype=torch.float64) for shape in ((5,), (6,), (8,), (4, 8))
    )
    return generator(scale * noise, sentence, words, condition_noise=scale * condition).images


def size_of_first_layer(generator: Generator) -> float:
    """A score that knows which width it is given: the sum of what grows with it."""
    return float(generator.initial.linear.weight.abs().sum())


def test_a_widened_generator_draws_what_wider_noise_drew(generator: Generator) -> None:
    wide, wanted, narrow = draw(widening.widened(generator, 1.7)), draw(generator, 1.7), draw(generator)
    for one, two, other in zip(wide, wanted, narrow):
        torch.testing.assert_close(one, two)
        assert not torch.allclose(one, other, atol=1e-3), "the argument stays as it is, and width matters"


def test_the_width_with_the_least_distance_is_written_and_told(shipped: Path, tmp_path: Path) -> None:
    config = read_config(shipped)
    own = size_of_first_layer(load_generator(shipped, config))

    def score(generator: Generator) -> dict[str, float]:
        return {"fid": abs(size_of_first_layer(generator) / own - 1.2), "recall": 0.5}

    said: list[str] = []
    noise = widening.widen_model(shipped, tmp_path / "out", score, scales=(1.0, 1.2, 1.5), say=said.append)
    assert noise["scale"] == 1.2
    assert [*noise["tried"]] == ["1", "1.2", "1.5"]
    assert said[2] == "noise x 1.5: fid 0.3, recall 0.5"
    out = tmp_path / "out"
    assert size_of_first_layer(load_generator(out, config)) == pytest.approx(1.2 * own, rel=1e-3)
    assert size_of_first_layer(load_generator(shipped, config)) == own
    assert not (out / "evaluation.json").exists(), "it is of other weights"
    how = json.loads((out / "how.json").read_text())
    assert how["commands"][:2] == ["train", "ship"]
    assert how["commands"][2].startswith("python -m reference_models.dmgan.widening --model ")
    assert how["noise"] == noise
    assert how["sha256"]["generator.safetensors"] == sha256(out / "generator.safetensors")
    assert next(iter(generate(load_model(out), ["a red bird"]))).images[-1].isfinite().all()


def test_a_folder_may_be_widened_in_place(shipped: Path) -> None:
    before = {path.name: path.read_bytes() for path in shipped.glob("*encoder.safetensors")}
    widening.widen_model(shipped, shipped, lambda _: {"fid": 1.0}, scales=(1.1,))
    assert {path.name: path.read_bytes() for path in shipped.glob("*encoder.safetensors")} == before
    assert json.loads((shipped / "how.json").read_text())["noise"]["scale"] == 1.1


def test_a_width_must_be_above_nothing(generator: Generator, shipped: Path) -> None:
    with pytest.raises(ConfigError, match=r"`scale` of the noise must be above 0, got 0\.0"):
        widening.widened(generator, 0.0)
    with pytest.raises(ConfigError, match="at least one"):
        widening.widen_model(shipped, shipped, lambda _: {"fid": 1.0}, scales=())
    assert (shipped / "evaluation.json").exists(), "nothing was lost"


@pytest.mark.usefixtures("own_cache")
def test_the_command_scores_on_validation_species(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, vocabulary = small_config(), birds_vocabulary()  # whose birds have the 64 pixels that are scored
    encoders = Encoders(TextEncoder(len(vocabulary), config.text), build_image_encoder(config), vocabulary)
    save_model(tmp_path / "model", config, initialise(Generator(config.generator)), encoders)
    splits = []
    drawn = widening.right_answers
    monkeypatch.setattr(
        widening, "right_answers", lambda split, *rest: splits.append(split) or drawn(split, *rest)
    )
    folder = str(tmp_path / "model")
    assert widening.main(["--model", folder, "--out", folder, "--scales", "1", "2", "--count", "12"]) == 0
    assert splits == ["validation", "validation"]
    told = capsys.readouterr().out
    assert "noise x 2: fid " in told
    assert "precision " in told


def test_what_ships_tells_its_width() -> None:
    noise = json.loads((SHIPPED / "how.json").read_text())["noise"]
    fid = {float(scale): scores["fid"] for scale, scores in noise["tried"].items()}
    assert min(fid, key=fid.__getitem__) == noise["scale"]
