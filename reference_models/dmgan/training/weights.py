"""A trained model on disk: one folder of safetensors and JSON, which sampling, evaluation and the demo read.

::

    config.json               the run's configuration
    vocabulary.json           words and ids
    generator.safetensors     the averaged generator
    text_encoder.safetensors
    image_encoder.safetensors and discriminator_*.safetensors, where training goes on from the folder
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reference_models.dmgan.config import Config
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.discriminator import build_discriminators, with_statistics
from reference_models.dmgan.errors import CheckpointError, ConfigError
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.image_encoder import build_image_encoder
from reference_models.dmgan.initialisation import initialise
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.log import read_log

ORIGIN = "started_from.json"  # in a run's folder


@dataclass(frozen=True)
class Encoders:
    """The DAMSM pair and the words it knows."""

    text: TextEncoder
    image: nn.Module
    vocabulary: Vocabulary


def write_tensors(path: Path, state: dict[str, Tensor], *, half: bool = False) -> None:
    """Write a state dict as safetensors, whole or not at all; ``half`` stores matrices as float16."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def stored(value: Tensor) -> Tensor:
        value = value.detach().cpu().contiguous()
        return value.half() if half and value.ndim >= 2 and value.is_floating_point() else value

    try:
        with write_atomically(path) as temporary:
            save_file({name: stored(value) for name, value in state.items()}, temporary)
    except SafetensorError as error:  # a full disk among others: it is no OSError
        raise CheckpointError(f"{path} cannot be written: {error}") from error


def read_into(module: nn.Module, path: Path) -> nn.Module:
    """Load ``path`` into ``module`` strictly; float16 is read as the module's dtype."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a model's folder needs it")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error})") from error
    expected = module.state_dict()
    for name in sorted(set(expected) | set(state)):
        if name not in state:
            raise CheckpointError(f"{path} lacks {name!r}: it is of another configuration")
        if name not in expected:
            raise CheckpointError(f"{path} holds {name!r}, which this configuration has not")
        if state[name].shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name!r} must be {tuple(expected[name].shape)}, got {tuple(state[name].shape)}"
            )
    with torch.no_grad():
        for name, value in expected.items():
            value.copy_(state[name])
    return module


def model_folder(folder: Path) -> Path:
    """Where the files of a model are: ``folder``, or its ``export``, where a run of training keeps them."""
    inside = folder / "export"
    return inside if inside.is_dir() and not (folder / "generator.safetensors").is_file() else folder


def write_config(folder: Path, config: Config) -> None:
    """Write ``config.json``."""
    with write_atomically(folder / "config.json") as temporary:
        temporary.write_text(json.dumps(config.to_dict(), indent=2) + "\n")


def read_config(folder: Path) -> Config:
    """Read ``config.json``."""
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {folder} is not a model's folder")
    try:
        return Config.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a configuration ({error})") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def save_encoders(folder: Path, encoders: Encoders, config: Config, *, half: bool = False) -> None:
    """Write the DAMSM pair, its vocabulary and its configuration."""
    write_config(folder, config)
    encoders.vocabulary.to_json(folder / "vocabulary.json")
    write_tensors(folder / "text_encoder.safetensors", encoders.text.state_dict(), half=half)
    write_tensors(folder / "image_encoder.safetensors", encoders.image.state_dict(), half=half)


def load_text_encoder(folder: Path, config: Config) -> tuple[TextEncoder, Vocabulary]:
    """The text encoder, frozen, and its vocabulary."""
    vocabulary = Vocabulary.from_json(folder / "vocabulary.json")
    encoder = TextEncoder(len(vocabulary), config.text)
    read_into(encoder, folder / "text_encoder.safetensors")
    return encoder.eval().requires_grad_(False), vocabulary


def load_encoders(folder: Path, config: Config) -> Encoders:
    """Both encoders of a model's folder or a run's, frozen, in eval mode.

    Raises:
        ConfigError: they were trained with other settings, where no weight shows it.
    """
    folder = model_folder(folder)
    fields = ("kind", "image_size") if config.image_encoder.kind == "small" else ("kind",)
    _check_trained_with(folder, config, "image_encoder", fields)
    text, vocabulary = load_text_encoder(folder, config)
    image = build_image_encoder(config)
    read_into(image, folder / "image_encoder.safetensors")
    return Encoders(text, image.eval().requires_grad_(False), vocabulary)


def save_model(
    folder: Path,
    config: Config,
    generator: Generator,
    encoders: Encoders,
    discriminators: nn.ModuleList | None = None,
    *,
    half: bool = False,
) -> None:
    """Write everything that sampling needs and, with ``discriminators``, that further training starts from."""
    save_encoders(folder, encoders, config, half=half)
    write_tensors(folder / "generator.safetensors", generator.state_dict(), half=half)
    if discriminators is not None:
        write_tensors(folder / "discriminators.safetensors", discriminators.state_dict(), half=half)


def load_generator(folder: Path, config: Config) -> Generator:
    """The generator of a model's folder, frozen, in eval mode."""
    generator = Generator(config.generator)
    read_into(generator, folder / "generator.safetensors")
    return generator.eval().requires_grad_(False)


def load_discriminators(folder: Path, config: Config) -> nn.ModuleList:
    """The discriminators of a model's folder, in train mode."""
    discriminators = build_discriminators(config)
    read_into(discriminators, folder / "discriminators.safetensors")
    return discriminators


def starting_networks(folder: Path, config: Config) -> tuple[Generator, nn.ModuleList]:
    """Generator and discriminators that a run begins with: those of a model's folder or a run's, in train mode.

    A folder without discriminators (one that ships for sampling alone) gets fresh ones. Where they had no statistics
    of a batch and ``config`` asks for them, these begin without weight.

    Raises:
        ConfigError: the generator was trained with another arm or mask mode.
    """
    folder = model_folder(folder)
    _check_trained_with(folder, config, "generator", ("arm", "mask_mode"))
    generator = load_generator(folder, config).train().requires_grad_(True)
    if (folder / "discriminators.safetensors").is_file():
        had = read_config(folder).discriminator.minibatch_std
        before = replace(config, discriminator=replace(config.discriminator, minibatch_std=had))
        discriminators = load_discriminators(folder, before)
        return generator, with_statistics(discriminators, config.discriminator.minibatch_std)
    return generator, initialise(build_discriminators(config))


def write_origin(run: Path, folder: Path) -> None:
    """Write ``started_from.json``: whose networks ``run`` begins with, how these came about, and their log."""
    folder = model_folder(folder)
    how, log = folder / "how.json", folder / "training_log.jsonl"
    origin = {
        "folder": str(folder),
        "generator_sha256": sha256(folder / "generator.safetensors"),
        "how": json.loads(how.read_text()) if how.is_file() else None,
        "log": read_log(log) if log.is_file() else [],
    }
    with write_atomically(run / ORIGIN) as temporary:
        temporary.write_text(json.dumps(origin) + "\n")


def read_origin(run: Path) -> dict[str, Any] | None:
    """What :func:`write_origin` wrote; None: the run began with fresh networks."""
    path = run / ORIGIN
    return json.loads(path.read_text()) if path.is_file() else None


def _check_trained_with(folder: Path, config: Config, section: str, fields: tuple[str, ...]) -> None:
    if not (folder / "config.json").is_file():
        return
    theirs, asked = getattr(read_config(folder), section), getattr(config, section)
    for name in fields:
        trained, value = getattr(theirs, name), getattr(asked, name)
        if value != trained:
            raise ConfigError(
                f"`{section}.{name}` must be {trained!r}, as {folder} was trained with (its config.json), got {value!r}"
            )
