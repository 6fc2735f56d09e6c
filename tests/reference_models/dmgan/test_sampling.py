"""Captions in, images out: each a function of model, caption, seed and place in the list, and of nothing else."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_models.dmgan.errors import CheckpointError, ConfigError, DataError
from reference_models.dmgan.sampling import SampledModel, generate, load_model, noise_for
from reference_models.dmgan.training.weights import load_generator, read_config

CAPTIONS = (
    "a bird with a red crown",
    "this bird has blue wings, a long yellow beak and also pink legs",
    "a small green bird",
    "a bird",
    "a bird with a white belly and a black tail",
)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> SampledModel:
    return load_model(model_folder)


def drawn(
    model: SampledModel, captions: tuple[str, ...], **options: object
) -> dict[int, tuple[torch.Tensor, ...]]:
    return {one.index: one.images for one in generate(model, captions, **options)}  # type: ignore[arg-type]


def test_every_caption_is_drawn_once_at_every_resolution(model: SampledModel) -> None:
    images = drawn(model, CAPTIONS, batch_size=2)
    assert sorted(images) == list(range(len(CAPTIONS)))
    for stages in images.values():
        assert [tuple(stage.shape) for stage in stages] == [(3, 16, 16), (3, 32, 32)]
        assert all(stage.abs().max() <= 1 for stage in stages)


@given(batch_size=st.integers(1, 6), keep=st.sets(st.integers(0, 4), min_size=1))
def test_an_image_depends_on_neither_batch_size_nor_neighbours(
    model: SampledModel, batch_size: int, keep: set[int]
) -> None:
    whole = drawn(model, CAPTIONS, batch_size=5)
    # The same places hold the same captions; the others say something else now.
    changed = tuple(text if place in keep else "a yellow bird" for place, text in enumerate(CAPTIONS))
    again = drawn(model, changed, batch_size=batch_size)
    for place in keep:
        for before, after in zip(whole[place], again[place]):
            torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_the_seed_and_the_place_choose_the_noise() -> None:
    noise = noise_for(3, [0, 7], 5)
    assert torch.equal(noise[1], noise_for(3, [7], 5)[0])
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, noise_for(4, [0, 7], 5))
    assert noise_for(0, range(4_000), 8).std() == pytest.approx(1, abs=0.02)


def test_words_move_the_picture(model: SampledModel) -> None:
    red, blue = (drawn(model, (f"a bird with a {colour} crown",))[0][-1] for colour in ("red", "blue"))
    assert (red - blue).abs().max() > 1e-4


def test_unknown_words_are_left_out_and_told(model: SampledModel) -> None:
    (one,) = generate(model, ["a quixotic bird with a red crown"])
    assert one.unknown == ("quixotic",)
    (other,) = generate(model, ["a bird with a red crown"])
    assert torch.equal(one.images[-1], other.images[-1])


@pytest.mark.parametrize(
    ("caption", "told"), [("", "is empty"), ("  ", "is empty"), ("quixotic", "no word that")]
)
def test_a_caption_without_known_words_is_refused(model: SampledModel, caption: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        list(generate(model, ["a bird", caption]))


def test_the_form_that_draws_has_no_batchnorm_and_equals_the_trained_one(model_folder: Path) -> None:
    model, config = load_model(model_folder), read_config(model_folder)
    trained = load_generator(model_folder, config)
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in trained.modules())
    assert not any(
        isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in model.generator.modules()
    )
    fast = drawn(model, CAPTIONS)
    plain = drawn(dataclasses.replace(model, generator=trained), CAPTIONS)
    for place, stages in plain.items():
        for one, other in zip(fast[place], stages, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_bfloat16_is_near_and_as_independent_of_neighbours(model: SampledModel) -> None:
    exact, other = drawn(model, CAPTIONS), drawn(model, CAPTIONS, seed=1)
    near = drawn(model, CAPTIONS, precision="bfloat16")
    alone = drawn(model, CAPTIONS, precision="bfloat16", batch_size=1)
    for place, stages in near.items():
        assert stages[-1].dtype == torch.float32
        apart = (exact[place][-1] - other[place][-1]).abs().mean()
        assert 0 < (stages[-1] - exact[place][-1]).abs().mean() < apart / 10
        assert (stages[-1] - alone[place][-1]).abs().mean() < apart / 10


def test_another_precision_is_refused_before_anything_is_drawn(model: SampledModel) -> None:
    with pytest.raises(ConfigError, match="`precision` must be one of float32, bfloat16, got 'float16'"):
        next(generate(model, CAPTIONS, precision="float16"))


def test_missing_damaged_and_foreign_folders_are_named(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model's folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        load_model(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(model_folder, folder)
    path = folder / "generator.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"generator\.safetensors is truncated or damaged"):
        load_model(folder)
    path.write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    config["generator"]["channels"] = 8
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"must be .* got"):
        load_model(folder)
    config["generator"]["chanels"] = config["generator"].pop("channels")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="unknown field 'chanels'"):
        load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not a configuration"):
        load_model(folder)
