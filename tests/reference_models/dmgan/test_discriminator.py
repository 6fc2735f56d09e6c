"""Discriminators: the release's structure at 64, 128 and 256 pixels, and the same rule below."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from reference_models.dmgan.config import DiscriminatorConfig, TrainConfig, birds_demo
from reference_models.dmgan.discriminator import (
    Discriminator,
    build_discriminators,
    channel_plan,
    convolved_plane,
    minibatch_std,
    with_statistics,
)
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.spectral_norm import SpectralConv2d

SMALL = DiscriminatorConfig(width=2, word_dim=6)


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256])
def test_every_size_ends_at_eight_widths_of_four_by_four(size: int) -> None:
    network = Discriminator(size, SMALL)
    features = network.features(torch.randn(2, 3, size, size))
    assert features.shape == (2, 16, 4, 4)
    conditional, unconditional = network.heads(features, torch.randn(2, 6))
    assert conditional.shape == unconditional.shape == (2,)


def test_the_paper_s_sizes_have_the_release_s_channels() -> None:
    assert channel_plan(64, 32) == ([32, 64, 128, 256], [])
    assert channel_plan(128, 32) == ([32, 64, 128, 256, 512], [256])
    assert channel_plan(256, 32) == ([32, 64, 128, 256, 512, 1024], [512, 256])


def test_spectral_norm_is_on_all_convolutions_but_the_two_heads() -> None:
    network = Discriminator(64, SMALL)
    plain = [name for name, part in network.named_modules() if type(part) is nn.Conv2d]
    assert plain == ["conditional", "unconditional"]
    off = Discriminator(64, dataclasses.replace(SMALL, spectral_norm=False))
    assert not any(isinstance(part, SpectralConv2d) for part in off.modules())
    assert set(off.state_dict()) <= set(network.state_dict())


def test_pairs_share_one_pass_over_the_images() -> None:
    network = Discriminator(16, dataclasses.replace(SMALL, spectral_norm=False))
    images, sentence = torch.randn(3, 3, 16, 16), torch.randn(5, 6)
    index = torch.tensor([2, 0, 1, 0, 2])
    conditional, unconditional = network(images, sentence, index)
    assert conditional.shape == (5,)
    assert unconditional.shape == (3,)
    for pair, image in enumerate(index.tolist()):
        alone, _ = network(images[image : image + 1], sentence[pair : pair + 1])
        torch.testing.assert_close(conditional[pair : pair + 1], alone)


def test_the_unconditional_logit_ignores_the_sentence_and_the_conditional_one_does_not() -> None:
    network = Discriminator(16, dataclasses.replace(SMALL, spectral_norm=False))
    images = torch.randn(2, 3, 16, 16)
    first, second = (network(images, torch.randn(2, 6)) for _ in range(2))
    assert torch.equal(first[1], second[1])
    assert not torch.allclose(first[0], second[0])


def test_compiles_without_a_graph_break_and_still_moves_the_estimate() -> None:
    network, twin = Discriminator(16, SMALL), Discriminator(16, SMALL)
    twin.load_state_dict(network.state_dict())
    images, sentence = torch.randn(2, 3, 16, 16), torch.randn(2, 6)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images, sentence), twin(images, sentence))
    torch.testing.assert_close(network.joint.weight_u, twin.joint.weight_u)


def test_one_discriminator_for_each_size_lowest_first() -> None:
    assert [network.size for network in build_discriminators(birds_demo())] == [16, 32, 64]


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ConfigError, match="power of two of at least 8, got 48"):
        Discriminator(48, SMALL)
    with pytest.raises(ValueError, match=r"\(B, 3, 16, 16\).*got \(2, 3, 32, 32\)"):
        Discriminator(16, SMALL)(torch.zeros(2, 3, 32, 32), torch.zeros(2, 6))


@pytest.mark.parametrize("size", [(4, 4), (1, 1), (2, 3), (5, 4)])
def test_a_convolved_plane_is_the_convolution_of_the_tiled_values(size: tuple[int, int]) -> None:
    values = torch.randn(3, 5, dtype=torch.float64)
    weight = torch.randn(7, 5, 3, 3, dtype=torch.float64)
    tiled = values[:, :, None, None].expand(-1, -1, *size)
    wanted = torch.nn.functional.conv2d(tiled, weight, padding=1)
    torch.testing.assert_close(convolved_plane(values, weight, *size), wanted)


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_pairs_are_judged_as_if_each_image_and_sentence_were_concatenated(spectral_norm: bool) -> None:
    network = Discriminator(
        16, DiscriminatorConfig(width=2, word_dim=6, spectral_norm=spectral_norm)
    ).double()
    features = torch.randn(3, 16, 4, 4, dtype=torch.float64)
    sentence = torch.randn(5, 6, dtype=torch.float64)
    index = torch.tensor([0, 1, 2, 0, 0])
    tiled = sentence[:, :, None, None].expand(-1, -1, 4, 4)
    before = copy.deepcopy(network)  # spectral norm goes on with each call
    joint = torch.nn.functional.leaky_relu(before.joint(torch.cat([features[index], tiled], 1)), 0.2)
    torch.testing.assert_close(
        network.conditional_logits(features, sentence, index), before.conditional(joint).flatten()
    )


def test_minibatch_std_is_the_spread_of_each_group_by_loops() -> None:
    features = torch.randn(6, 4, 2, 3, dtype=torch.float64)
    found = minibatch_std(features, 2, group=3)
    assert found.shape == (6, 2, 2, 3)
    for image in range(6):
        group = features[image // 3 * 3 : image // 3 * 3 + 3]
        for statistic in range(2):
            channels = group[:, 2 * statistic : 2 * statistic + 2]
            wanted = sum(
                channels[:, c, y, x].std(unbiased=False) for c in range(2) for y in range(2) for x in range(3)
            )
            assert torch.allclose(found[image, statistic], (wanted / 12).expand(2, 3), atol=1e-6)
    assert torch.autograd.gradcheck(lambda x: minibatch_std(x, 2, group=3), features.requires_grad_())
    with pytest.raises(ValueError, match="multiple of 3 images, got 5"):
        minibatch_std(features[:5], 2, group=3)


def test_only_the_unconditional_head_sees_how_much_images_differ() -> None:
    network = Discriminator(16, dataclasses.replace(SMALL, minibatch_std=4, spectral_norm=False))
    images, sentence = torch.randn(16, 3, 16, 16), torch.randn(16, 6)
    alike = images.clone()
    alike[1:8] = images[0]  # image 0 is as it was, its group is not; the other group is
    (conditional, unconditional), (of_alike, real_of_alike) = (
        network(images, sentence),
        network(alike, sentence),
    )
    torch.testing.assert_close(conditional[0], of_alike[0])
    assert not torch.isclose(unconditional[0], real_of_alike[0], atol=1e-4)
    torch.testing.assert_close(unconditional[8:], real_of_alike[8:])


def test_statistics_that_are_new_weigh_nothing_at_first() -> None:
    plain = build_discriminators(birds_demo())
    images, sentence = torch.randn(8, 3, 16, 16), torch.randn(8, 128)
    before = plain[0](images, sentence)
    grown = with_statistics(plain, 16)
    torch.testing.assert_close(grown[0](images, sentence), before)
    grown[0](images, sentence)[1].sum().backward()
    assert grown[0].unconditional.weight.grad[:, -16:].abs().min() > 0, "and they can learn"
    torch.testing.assert_close(with_statistics(grown, 0)[0](images, sentence), before)


def test_statistics_need_whole_groups_and_whole_shares_of_the_channels() -> None:
    demo = birds_demo()
    asked = dataclasses.replace(demo.discriminator, minibatch_std=16)
    with pytest.raises(ConfigError, match=r"`train.batch_size` must be a multiple of 8 .* got 12"):
        dataclasses.replace(demo, discriminator=asked, train=TrainConfig(batch_size=12))
    with pytest.raises(ConfigError, match=r"must be 0 or divide .* = 256, got 3"):
        dataclasses.replace(demo, discriminator=dataclasses.replace(asked, minibatch_std=3))
