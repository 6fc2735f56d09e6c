"""The generator: its arms, its sizes, and what must not change an image."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch

from memgan import DynamicMemory, WordAttention
from reference_models.dmgan.config import GeneratorConfig, cub
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.initialisation import initialise

SMALL = GeneratorConfig(
    channels=4, noise_dim=5, condition_dim=6, word_dim=8, first_size=16, residual_blocks=1
)
ARMS = ["baseline", "memory", "write_gate", "full"]


def inputs(batch: int = 3, words: int = 7) -> dict[str, torch.Tensor]:
    """Noise, sentence, words and a mask with 7, 4 and 1 real words."""
    return {
        "noise": torch.randn(batch, 5),
        "sentence": torch.randn(batch, 8),
        "words": torch.randn(batch, words, 8),
        "word_mask": torch.arange(words)[None] < torch.tensor([7, 4, 1])[:batch, None],
        "condition_noise": torch.randn(batch, 6),
    }


def generator(**changes: object) -> Generator:
    """A small generator in eval mode."""
    return initialise(Generator(dataclasses.replace(SMALL, **changes))).eval()


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_draws_every_size(arm: str) -> None:
    network = generator(arm=arm)
    out = network(**inputs(), return_attention=True)
    assert [tuple(image.shape) for image in out.images] == [(3, 3, s, s) for s in (16, 32, 64)]
    assert [tuple(a.shape) for a in out.attention] == [(3, 7, 16, 16), (3, 7, 32, 32)]
    assert all(image.abs().max() <= 1 for image in out.images)
    assert out.mu.shape == out.logvar.shape == (3, 6)
    assert network(**inputs()).attention is None


def test_the_arms_differ_in_what_the_spec_says() -> None:
    memories = {arm: generator(arm=arm).refinements[0].memory for arm in ARMS}
    assert isinstance(memories["baseline"], WordAttention)
    assert all(isinstance(memories[arm], DynamicMemory) for arm in ARMS[1:])
    sizes = [sum(p.numel() for p in memories[arm].parameters()) for arm in ARMS]
    assert sizes == sorted(set(sizes))  # each arm adds parameters


def test_the_papers_size() -> None:
    with torch.device("meta"):
        network = Generator(cub().generator)
    assert sum(p.numel() for p in network.parameters()) == 21_449_042


@pytest.mark.parametrize("arm", ARMS)
def test_padding_and_neighbours_never_change_an_image(arm: str) -> None:
    network, values = generator(arm=arm).double(), inputs()
    values = {key: value if key == "word_mask" else value.double() for key, value in values.items()}
    expected = network(**values).images[-1]
    values["words"] = values["words"].masked_fill(~values["word_mask"][:, :, None], float("nan"))
    torch.testing.assert_close(network(**values).images[-1], expected, rtol=0, atol=0)
    alone = network(**{key: value[1:2] for key, value in values.items()}).images[-1]
    torch.testing.assert_close(alone, expected[1:2])


def test_release_mask_rows_do_change_with_the_neighbours() -> None:
    network, values = generator(mask_mode="release"), inputs()
    together = network(**values).images[-1]
    alone = network(**{key: value[1:2] for key, value in values.items()}).images[-1]
    assert not torch.allclose(alone, together[1:2], atol=1e-3)


def test_conditioning_noise_makes_it_deterministic() -> None:
    network, values = generator(), inputs()
    assert torch.equal(network(**values).images[-1], network(**values).images[-1])
    values["condition_noise"] = None
    assert not torch.equal(network(**values).images[-1], network(**values).images[-1])


@pytest.mark.parametrize("arm", ARMS)
def test_inspection_shows_the_same_images_with_both_gates(arm: str) -> None:
    network, values = generator(arm=arm), inputs()
    out, seen = network(**values, return_attention=True), network.inspect(**values)
    assert all(torch.equal(a, b) for a, b in zip(out.images, seen.images, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(out.attention, seen.attention, strict=True))
    for stage, size in enumerate((16, 32)):
        if arm in ("write_gate", "full"):
            assert seen.write_gate[stage].shape == (3, 7)
            assert torch.equal(seen.write_gate[stage] > 0, values["word_mask"])
            assert seen.write_gate[stage].max() < 1
        else:
            assert seen.write_gate[stage] is None
        if arm == "full":
            assert seen.response_gate[stage].shape == (3, 1, size, size)
            assert 0 < seen.response_gate[stage].min() < seen.response_gate[stage].max() < 1
        else:
            assert seen.response_gate[stage] is None


def test_every_parameter_learns() -> None:
    network = generator().train()
    out = network(**inputs())
    sum(image.square().mean() for image in out.images).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def _numbers_kept_for_backward(network: Generator, values: dict[str, torch.Tensor]) -> int:
    held: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.numel()) or t, lambda t: t):
        out = network(**values, return_attention=True)
    sum(image.square().mean() for image in [*out.images, *out.attention]).backward()
    return sum(held)


def test_checkpointed_activations_change_nothing_but_memory() -> None:
    plain, values = generator().train(), inputs()
    saving = generator().train()
    saving.load_state_dict(plain.state_dict())
    saving.checkpoint_activations = True
    kept = [_numbers_kept_for_backward(network, values) for network in (plain, saving)]
    assert kept[1] < kept[0] / 2
    for (name, p), q in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad), name
    for (name, p), q in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(p, q), name


def test_compiles_without_a_graph_break() -> None:
    network, values = generator(), inputs()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    assert torch.equal(compiled(**values).images[-1], network(**values).images[-1])


def test_exported_generator_equals_eager() -> None:
    network, values = generator(), inputs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export warns of its own internals
        exported = torch.export.export(network, (), values).module()
    others = inputs()
    for image, expected in zip(exported(**others).images, network(**others).images, strict=True):
        torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-4)


def test_wrong_options_and_input_are_named() -> None:
    with pytest.raises(ConfigError, match="mask_mode"):
        generator(arm="baseline", mask_mode="release")
    with pytest.raises(ConfigError, match="got 'gates'"):
        generator(arm="gates")
    with pytest.raises(ValueError, match=r"`noise` must be \(B, 5\), got \(3, 6\)"):
        generator()(**inputs() | {"noise": torch.zeros(3, 6)})
