"""Configurations are frozen, complete, and survive JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from reference_models.dmgan.config import CONFIGS, Config, GeneratorConfig, birds_demo, named
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


def test_sizes_double_from_the_first() -> None:
    assert birds_demo().generator.sizes == (16, 32, 64)
    assert GeneratorConfig().sizes == (64, 128, 256)
