"""What is run: every arm for every seed, and the protocol that all results of one folder share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_models.dmgan.ablation.arms import ARMS
from reference_models.dmgan.ablation.training import FIRST
from reference_models.dmgan.config import Config
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.training.weights import model_folder

SEEDS = (0, 1, 2, 3, 4, 5)
# How a run is watched and kept, and on which machine: these change no number.
UNNUMBERED = {
    "train": (
        "log_every",
        "sample_every",
        "checkpoint_every",
        "keep_checkpoints",
        "tensorboard",
        "seed",
        "images",
    ),
    "data": ("workers", "root"),
}
# Fields that came after the first results, with the value that does what was done before: no difference then.
LATER = {"discriminator": {"minibatch_std": 0}}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An ablation. Seeds and arms may be added to a folder later; everything else is its protocol."""

    config: Config
    encoders: Mapping[str, str]  # file -> sha256: of the DAMSM pair that every run takes
    images: int = 150_000  # real images an arm is trained on
    first_images: int = 15_000  # of the first stage: a tenth, so that first images are poor
    count: int = 10_000  # images scored
    seeds: tuple[int, ...] = SEEDS
    arms: tuple[str, ...] = ARMS

    def __post_init__(self) -> None:
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms:
            raise ConfigError(f"`arms` must be some of {', '.join(ARMS)}, got {', '.join(unknown) or 'none'}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(f"`seeds` must be distinct and at least 0, got {list(self.seeds)}")
        for name in ("images", "first_images", "count"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.config.data.layout != "birds":
            raise ConfigError(
                f"the endpoint is the judge's, so `data.layout` must be birds, got {self.config.data.layout!r}"
            )

    def units(self) -> Iterator[tuple[int, str]]:
        """(seed, run) in the order they are made: a whole seed, its first stage first, before the next."""
        for seed in self.seeds:
            for run in (FIRST, *self.arms):
                yield seed, run

    def protocol(self) -> dict[str, Any]:
        """What results must share to be compared."""
        config = self.config.to_dict()
        for section, names in UNNUMBERED.items():
            for name in names:
                config[section].pop(name, None)
        for section, fields in LATER.items():
            for name, before in fields.items():
                if config[section][name] == before:
                    del config[section][name]
        return {
            "images": self.images,
            "first_images": self.first_images,
            "count": self.count,
            "encoders": dict(self.encoders),
            "config": config,
        }

    def digest(self) -> str:
        """Twelve hexadecimal digits of the protocol."""
        return protocol_digest(self.protocol())


def encoder_digests(folder: Path) -> dict[str, str]:
    """The sha256 of each file that makes the encoders in ``folder``, a model's or a run's, what they are."""
    folder = model_folder(folder)
    names = ("text_encoder.safetensors", "image_encoder.safetensors", "vocabulary.json")
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: `pretrain` writes it")
    return {name: sha256(folder / name) for name in names}


def protocol_digest(protocol: dict[str, Any]) -> str:
    """Twelve hexadecimal digits of a protocol as a dictionary."""
    return hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:12]


def claim(out: Path, protocol: dict[str, Any]) -> None:
    """Make ``out`` this protocol's folder, or check that it is.

    Raises:
        ConfigError: it holds results of another protocol; the first difference is named.
    """
    path = out / "protocol.json"
    if not path.is_file():
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(protocol, indent=1) + "\n")
        return
    stored = json.loads(path.read_text())
    mine = json.loads(json.dumps(protocol))  # tuples are lists there
    for name, left, right in _differences(stored, mine):
        raise ConfigError(
            f"{out} holds an ablation with `{name}` {left!r}, this one has {right!r}: choose another --out"
        )


def _differences(first: Any, second: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(first, dict) and isinstance(second, dict):
        for name in sorted(set(first) | set(second)):
            yield from _differences(first.get(name), second.get(name), f"{path}.{name}".lstrip("."))
    elif first != second:
        yield path, first, second
