"""From released files to a model's folder: exact, whole or not at all, and each refusal."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from reference_models.dmgan.config import Config, DiscriminatorConfig, GeneratorConfig, TextConfig
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.discriminator import Discriminator
from reference_models.dmgan.errors import CheckpointError, ConfigError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.released import discriminators, encoders, generators, importing
from reference_models.dmgan.released.importing import check_written, read_released, write_imported
from reference_models.dmgan.released.verify import released_state
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training import weights

GENERATOR = GeneratorConfig(channels=2, noise_dim=4, condition_dim=3, word_dim=6)
WORDS = Vocabulary(("<end>", *"abcdefgh"))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Small released-layout files: a generator, a text encoder and three discriminators."""
    folder = tmp_path / "released"
    folder.mkdir()
    networks = {
        "generator": (Generator(GENERATOR), generators.generator_names(GENERATOR)),
        "text_encoder": (
            TextEncoder(9, TextConfig(word_dim=6, embedding_dim=5)),
            encoders.text_names(),
        ),
    }
    for size in (64, 128, 256):
        network = Discriminator(size, DiscriminatorConfig(width=2, word_dim=6))
        networks[f"d{size}"] = (network, discriminators.names(size))
    paths = {}
    for name, (network, names) in networks.items():
        paths[name] = folder / f"{name}.pth"
        torch.save(released_state(network, names), paths[name])
    return paths


def read(files: dict[str, Path], **changes: object) -> importing.Imported:
    """Everything of ``files``, discriminators in no order."""
    given = {
        "generator": files["generator"],
        "text_encoder": files["text_encoder"],
        "discriminators": [files[f"d{size}"] for size in (256, 64, 128)],
        "vocabulary": WORDS,
    }
    return read_released(**given | changes)


def test_the_folder_draws_what_the_released_file_draws(files: dict[str, Path], tmp_path: Path) -> None:
    made, out = read(files), tmp_path / "runs" / "imported"
    assert write_imported(made, out) == out
    assert len(check_written(made, out)) == 3
    config = weights.read_config(out)
    assert config == made.config
    assert config.generator == GENERATOR
    assert config.discriminator == DiscriminatorConfig(width=2, word_dim=6)
    generator = weights.load_generator(out, config)
    text, vocabulary = weights.load_text_encoder(out, config)
    assert vocabulary == WORDS

    words, sentence = text(torch.tensor([vocabulary.encode("c a h")]), torch.tensor([3]))
    noise, condition = torch.randn(1, 4), torch.randn(1, 3)
    expected_words, expected_sentence = made.text_encoder(torch.tensor([[3, 1, 8]]), torch.tensor([3]))
    images = generator(noise, sentence, words, condition_noise=condition).images
    expected = made.generator(noise, expected_sentence, expected_words, condition_noise=condition).images
    assert [image.shape[-1] for image in images] == [64, 128, 256]
    assert all(torch.equal(a, b) for a, b in zip(images, expected, strict=True))
    assert [d.size for d in weights.load_discriminators(out, config)] == [64, 128, 256]

    record = json.loads((out / "import.json").read_text())["imported from"]
    assert set(record) == {path.name for path in files.values()}
    assert all(len(digest) == 64 for digest in record.values())


def test_the_base_is_told_from_the_residual_blocks(files: dict[str, Path]) -> None:
    assert read(files).config.name == "cub_released"
    assert read(files, base="coco").config.loss.damsm == 50.0
    three = dataclasses.replace(GENERATOR, residual_blocks=3)
    torch.save(released_state(Generator(three), generators.generator_names(three)), files["generator"])
    config = read(files).config
    assert (config.name, config.data.layout) == ("coco_released", "coco")
    assert Config.from_dict(config.to_dict()) == config


def test_encoders_alone(files: dict[str, Path], tmp_path: Path) -> None:
    made = read_released(text_encoder=files["text_encoder"])
    write_imported(made, tmp_path / "encoders")
    assert {path.name for path in (tmp_path / "encoders").iterdir()} == {
        "config.json",
        "import.json",
        "text_encoder.safetensors",
    }


def test_release_mask_rows_are_kept_in_the_configuration(files: dict[str, Path], tmp_path: Path) -> None:
    write_imported(read(files, mask_mode="release"), tmp_path / "out")
    assert weights.read_config(tmp_path / "out").generator.mask_mode == "release"


def test_what_does_not_belong_together_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="nothing to import"):
        read_released()
    with pytest.raises(CheckpointError, match="knows 9 words and the vocabulary has 2"):
        read(files, vocabulary=Vocabulary(("<end>", "a")))
    with pytest.raises(ConfigError, match=r"each image size \(64, 128, 256\), got \(64, 128\)"):
        read(files, discriminators=[files["d64"], files["d128"]])
    wide = Discriminator(64, DiscriminatorConfig(width=4, word_dim=6))
    torch.save(released_state(wide, discriminators.names(64)), files["d64"])
    with pytest.raises(ConfigError, match="their widths differ"):
        read(files)
    torch.save(
        released_state(TextEncoder(9, TextConfig(word_dim=8)), encoders.text_names()), files["text_encoder"]
    )
    with pytest.raises(ConfigError, match="6 of the generator, 8 of the text encoder"):
        read(files)


def test_an_import_is_whole_or_not_there(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, out = read(files), tmp_path / "place" / "out"

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(importing, "write_tensors", full_disk)
        with pytest.raises(OSError, match="No space"):
            write_imported(made, out)
    assert list(out.parent.iterdir()) == []
    out.mkdir()
    write_imported(made, out)  # an empty folder is taken
    with pytest.raises(ConfigError, match="not an empty folder"):
        write_imported(made, out)


def test_another_bit_on_the_disk_is_noticed(files: dict[str, Path], tmp_path: Path) -> None:
    made, out = read(files), tmp_path / "out"
    write_imported(made, out)
    state = {key: value.clone() for key, value in made.generator.state_dict().items()}
    state["heads.0.0.weight"][0] += 1e-7
    weights.write_tensors(out / "generator.safetensors", state)
    with pytest.raises(CheckpointError, match=r"does not hold what was imported: 'heads\.0\.0\.weight'"):
        check_written(made, out)
