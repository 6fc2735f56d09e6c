"""Released state dicts at full size and small: sizes inferred, every key checked, files read safely."""

from __future__ import annotations

import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reference_models.dmgan import released
from reference_models.dmgan.config import GeneratorConfig, TextConfig
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.released import encoders, generators
from reference_models.dmgan.released.verify import released_state
from reference_models.dmgan.text_encoder import TextEncoder

OFFICIAL = json.loads((Path(__file__).parents[3] / "vectors" / "official_state_dicts.json").read_text())
LOADERS: dict[str, Callable[..., nn.Module]] = {
    "generator_bird": released.load_generator,
    "generator_coco": released.load_generator,
    "discriminator_64": released.load_discriminator,
    "discriminator_128": released.load_discriminator,
    "discriminator_256": released.load_discriminator,
    "text_encoder_bird": released.load_text_encoder,
    "image_encoder": released.load_image_encoder,
}


def official(name: str) -> dict[str, Tensor]:
    """A full-size released state dict without storage."""
    return {
        key: torch.empty(
            shape, device="meta", dtype=torch.int64 if key.endswith("num_batches_tracked") else None
        )
        for key, shape in OFFICIAL[name].items()
    }


def small_text_encoder() -> dict[str, Tensor]:
    """A released-layout text encoder for nine words."""
    return released_state(TextEncoder(9, TextConfig(word_dim=6, embedding_dim=5)), encoders.text_names())


@pytest.mark.parametrize("name", LOADERS)
def test_full_size_loads_with_and_without_module_prefixes(name: str) -> None:
    state = official(name)
    network = LOADERS[name](state)
    assert not network.training
    told = sum(value.numel() for value in state.values())
    assert sum(value.numel() for value in network.state_dict().values()) == told
    again = LOADERS[name]({f"module.{key}": value for key, value in state.items()})
    assert again.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize(("name", "blocks"), [("generator_bird", 2), ("generator_coco", 3)])
def test_generator_sizes_are_inferred(name: str, blocks: int) -> None:
    config = released.load_generator(official(name)).config
    assert config == GeneratorConfig(residual_blocks=blocks)  # the defaults are the paper's


def test_other_sizes_are_inferred() -> None:
    config = GeneratorConfig(
        channels=3, noise_dim=7, condition_dim=5, word_dim=11, refinements=1, residual_blocks=4
    )
    with torch.device("meta"):
        network = Generator(config)
    shapes = {
        theirs: network.state_dict()[mine] for theirs, mine in generators.generator_names(config).items()
    }
    assert released.load_generator(shapes).config == config
    text = released.load_text_encoder(small_text_encoder())
    assert (text.embedding.num_embeddings, text.embedding.embedding_dim) == (9, 5)
    assert text.rightward.hidden_size == 3


@pytest.mark.parametrize("size", [64, 128, 256])
def test_discriminator_size_is_told_from_its_layers(size: int) -> None:
    network = released.load_discriminator(official(f"discriminator_{size}"))
    assert network.size == size
    assert network.joint.in_channels == 8 * 32 + 256


@pytest.mark.parametrize("name", LOADERS)
def test_a_missing_extra_or_misshapen_key_is_named(name: str) -> None:
    state = official(name)
    key = (
        next(key for key in reversed(state) if key.endswith("weight") and state[key].ndim == 4)
        if (name != "text_encoder_bird")
        else "rnn.weight_ih_l0_reverse"
    )
    with pytest.raises(CheckpointError, match=f"(missing|no key) '{key}'"):
        LOADERS[name]({other: value for other, value in state.items() if other != key})
    with pytest.raises(CheckpointError, match="unknown 'surplus.weight'"):
        LOADERS[name](state | {"surplus.weight": torch.zeros(2)})
    wrong = torch.empty([length + 3 for length in state[key].shape], device="meta")
    with pytest.raises(CheckpointError, match=rf"'{key}' must have shape \(.*\), got \({wrong.shape[0]}, "):
        LOADERS[name](state | {key: wrong})


def test_a_key_missing_from_the_blocks_that_are_counted_is_named() -> None:
    key = "h_net2.residual.0.block.0.weight"
    state = {other: value for other, value in official("generator_bird").items() if other != key}
    with pytest.raises(CheckpointError, match=f"generator: missing '{key}'$"):
        released.load_generator(state)


def test_batch_norm_counters_may_be_missing_as_in_old_files() -> None:
    state = official("image_encoder")
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    assert isinstance(released.load_image_encoder(old), nn.Module)


def test_another_network_is_told_apart() -> None:
    with pytest.raises(CheckpointError, match=r"not a released generator: no key 'ca_net\.fc\.weight'"):
        released.load_generator(small_text_encoder())
    with pytest.raises(CheckpointError, match="cannot tell its sizes"):
        released.load_generator(official("generator_bird") | {"h_net1.fc.0.weight": torch.empty(100, 200)})
    with pytest.raises(CheckpointError, match="maps names to tensors, but 'epoch' is int"):
        released.load_text_encoder(small_text_encoder() | {"epoch": 3})


def test_a_loaded_network_owns_its_weights() -> None:
    state = small_text_encoder()
    network = released.load_text_encoder(state)
    before = state["encoder.weight"].clone()
    with torch.no_grad():
        network.embedding.weight.add_(1)
    assert torch.equal(state["encoder.weight"], before)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_files_truncated_or_damaged_or_of_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "text_encoder600.pth"
    with pytest.raises(FileNotFoundError, match="text_encoder600"):
        released.load_text_encoder(path)
    for legacy in (False, True):
        torch.save(small_text_encoder(), path, _use_new_zipfile_serialization=not legacy)
        whole = path.read_bytes()
        assert released.load_text_encoder(path).embedding.num_embeddings == 9
        for length in (0, 10, len(whole) // 2, len(whole) - 30):
            path.write_bytes(whole[:length])
            with pytest.raises(CheckpointError, match=r"text_encoder600\.pth"):
                released.load_text_encoder(path)
    torch.save({"encoder.weight": torch.zeros(2), "hook": print}, path)
    with pytest.raises(CheckpointError, match=r"refused.*print"):
        released.load_text_encoder(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(CheckpointError, match="holds a list"):
        released.load_text_encoder(path)


class _Python2Pickler(pickle._Pickler):
    """Writes str as Python 2 did: byte strings."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_str(self, text: str) -> None:
        raw = text.encode("ascii")
        self.write(b"U" + struct.pack("<B", len(raw)) + raw)
        self.memoize(text)

    dispatch[str] = save_str


def test_a_file_that_python_2_wrote(tmp_path: Path) -> None:
    state, path = small_text_encoder(), tmp_path / "text_encoder.pth"
    module = type("python2", (), {"Pickler": _Python2Pickler, "dump": staticmethod(_dump)})
    torch.save(state, path, pickle_module=module, _use_new_zipfile_serialization=False)
    assert b"U\x0eencoder.weight" in path.read_bytes()
    network = released.load_text_encoder(path)
    assert torch.equal(network.embedding.weight, state["encoder.weight"])


def _dump(value: object, file: io.BufferedWriter, protocol: int) -> None:
    _Python2Pickler(file, protocol).dump(value)
