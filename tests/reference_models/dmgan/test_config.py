"""Configurations are frozen, complete, and survive JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from reference_models.dmgan.config import CONFIGS, Config, GeneratorConfig, birds_demo, named
from reference_models.dmgan.config_checks import OF, unchecked
from reference_models.dmgan.errors import ConfigError


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_survives_json(name: str) -> None:
    config = named(name)
    again = Config.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.digest() == config.digest()


def test_the_digest_changes_with_any_field() -> None:
    config = birds_demo()
    changed = dataclasses.replace(config, loss=dataclasses.replace(config.loss, gamma1=4.5))
    assert changed.digest() != config.digest()


def test_an_unknown_field_is_named() -> None:
    values = birds_demo().to_dict()
    values["train"]["lerning_rate"] = 1.0
    with pytest.raises(ConfigError, match="lerning_rate"):
        Config.from_dict(values)


def test_an_unknown_configuration_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="birds_demo"):
        named("bird")


def test_widths_that_disagree_are_refused_with_all_three() -> None:
    with pytest.raises(ConfigError, match="128, 64 and 128"):
        dataclasses.replace(birds_demo(), generator=GeneratorConfig(word_dim=64))


@pytest.mark.parametrize("size", [4, 12, 63])
def test_a_first_size_that_no_chain_of_doublings_reaches_is_refused(size: int) -> None:
    config = birds_demo()
    with pytest.raises(ConfigError, match=str(size)):
        dataclasses.replace(config, generator=dataclasses.replace(config.generator, first_size=size))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("data.max_words", 0, "at least 1, got 0"),
        ("text.dropout", 1.0, "at least 0 and less than 1, got 1.0"),
        ("generator.refinements", -1, "at least 0, got -1"),
        ("generator.channels", 0, "at least 1, got 0"),
        ("discriminator.width", 0, "at least 1, got 0"),
        ("loss.gradient_penalty", -1.0, "at least 0, got -1.0"),
        ("pretrain.batch_size", 1, "at least 2, got 1"),
        ("train.images", 0, "at least 1, got 0"),
        ("train.log_every", 0, "at least 1, got 0"),
        ("train.betas", (0.5, 1.0), r"at least 0 and less than 1, got \(0.5, 1.0\)"),
        ("train.ema_decay", 2.0, "at least 0 and less than 1, got 2.0"),
        ("train.ema_decay", float("nan"), "at least 0 and less than 1, got nan"),
        ("train.generator_learning_rate", -1e-4, "at least 0, got -0.0001"),
        ("loss.gamma1", 0.0, "more than 0, got 0.0"),
        ("train.seed", -1, "at least 0 and at most 9.22337e.18, got -1"),
    ],
)
def test_a_number_that_cannot_be_is_named_with_its_bounds(field: str, value: object, told: str) -> None:
    config = birds_demo()
    section, name = field.split(".")
    changed = dataclasses.replace(getattr(config, section), **{name: value})
    with pytest.raises(ConfigError, match=f"`{field}` must be {told}"):
        dataclasses.replace(config, **{section: changed})
    with unchecked():
        dataclasses.replace(config, **{section: changed})


def test_every_number_has_bounds() -> None:
    for section, bounds in OF.items():
        held = getattr(birds_demo(), section)
        free = {"word_dim", "first_size", "batch_size", "minibatch_std"}  # whose rules are of several fields
        numbers = {
            f.name for f in dataclasses.fields(held) if type(getattr(held, f.name)) in (int, float, tuple)
        }
        assert numbers - free <= set(bounds), section


def test_sizes_double_from_the_first() -> None:
    assert birds_demo().generator.sizes == (16, 32, 64)
    assert GeneratorConfig().sizes == (64, 128, 256)
