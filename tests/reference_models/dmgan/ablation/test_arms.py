"""Arms differ in how a refinement reads the words, and in nothing else."""

from __future__ import annotations

import pytest
import torch

from reference_models.dmgan.ablation.arms import (
    ARMS,
    WideResidualBlock,
    arm_config,
    arm_of,
    build_generator,
    paired_generator,
    wide_hidden,
)
from reference_models.dmgan.ablation.cost import cost, cost_lines, costs
from reference_models.dmgan.config import birds_demo, birds_full
from reference_models.dmgan.errors import ConfigError
from tests.reference_models.dmgan.ablation.conftest import small_config


def test_each_part_of_the_memory_adds_parameters() -> None:
    parameters = [cost(birds_demo(), arm).parameters for arm in ARMS[:4]]
    assert parameters == sorted(set(parameters))


@pytest.mark.parametrize("config", [birds_demo(), birds_full(), small_config()], ids=lambda c: c.name)
def test_the_wide_baseline_has_the_full_models_parameters_and_at_most_one_width_more(config) -> None:
    full, wide = cost(config, "full"), cost(config, "wide")
    blocks = config.generator.refinements * config.generator.residual_blocks
    a_width = blocks * sum(
        p.numel() for p in WideResidualBlock(2 * config.generator.channels, 1).parameters()
    )
    assert full.parameters <= wide.parameters < full.parameters + a_width
    hidden = wide_hidden(config)
    assert build_generator(config, "wide").refinements[0].residual[0].conv2.in_channels == hidden


def test_counted_parameters_are_those_of_the_network() -> None:
    config = small_config()
    for one in costs(config):
        generator = build_generator(config, one.arm)
        assert one.parameters == sum(p.numel() for p in generator.parameters())
        assert 0 < one.refinement_parameters < one.parameters


def test_flops_of_a_wider_block_are_those_of_its_convolutions() -> None:
    config = small_config()
    channels, hidden = 8, wide_hidden(config)
    pixels = 16**2 + 32**2  # what the two refinements start from
    wider = 2 * pixels * 9 * 3 * channels * (hidden - channels)
    assert cost(config, "wide").flops - cost(config, "baseline").flops == wider


def test_flops_of_the_doubled_features_are_counted_once_as_they_are_convolved() -> None:
    # `full` has `write_gate`'s products and the response gate's, and convolves [r, r] as r: C of 2C channels to 4C.
    config, channels, pixels = small_config(), 4, (16**2, 32**2)
    once = sum(2 * n * 9 * channels * 4 * channels for n in pixels)
    gate = sum(2 * n * 2 * channels for n in pixels)
    assert cost(config, "full").flops - cost(config, "write_gate").flops == gate - once


def test_the_table_names_every_arm() -> None:
    lines = cost_lines(costs(small_config()))
    assert [line.split()[0] for line in lines] == ["arm", *ARMS]


def test_arms_of_a_seed_begin_with_the_same_weights_where_they_have_the_same_parts() -> None:
    config = small_config()
    arms = {arm: paired_generator(config, arm, 3).state_dict() for arm in ARMS}
    for arm in ("baseline", "memory", "write_gate"):
        shared = [name for name in arms[arm] if name in arms["full"]]
        assert any("residual" in name for name in shared)
        assert any("heads.2" in name for name in shared)
        assert all(torch.equal(arms[arm][name], arms["full"][name]) for name in shared)
    wide = [name for name in arms["wide"] if arms["wide"][name].shape == arms["baseline"][name].shape]
    assert any("upsample" in name for name in wide)
    assert not torch.equal(
        paired_generator(config, "full", 4).state_dict()["heads.1.0.weight"], arms["full"]["heads.1.0.weight"]
    )


def test_making_an_arm_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    paired_generator(small_config(), "memory", 0)
    assert torch.equal(torch.rand(3), wanted)


def test_a_configuration_tells_its_arm() -> None:
    config = birds_demo()
    assert [arm_of(arm_config(config, arm)) for arm in ARMS] == list(ARMS)
    assert arm_of(config) == "full"
    with pytest.raises(ConfigError, match="`arm` must be one of baseline, .*, got 'half'"):
        arm_config(config, "half")
