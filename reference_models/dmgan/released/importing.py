"""Released checkpoints → a model's folder of safetensors and JSON, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from reference_models.dmgan.config import Config, DiscriminatorConfig, ImageEncoderConfig, TextConfig, named
from reference_models.dmgan.data.released_layout import read_caption_pickle
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.discriminator import Discriminator, build_discriminators
from reference_models.dmgan.errors import CheckpointError, ConfigError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.image_encoder import InceptionImageEncoder, build_image_encoder
from reference_models.dmgan.released.discriminators import load_discriminator
from reference_models.dmgan.released.encoders import DROPOUT, load_image_encoder, load_text_encoder
from reference_models.dmgan.released.generators import MaskMode, load_generator
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.weights import read_config, read_into, write_config, write_tensors


@dataclass(kw_only=True)
class Imported:
    """Released networks in memory, with the configuration that fits them."""

    config: Config
    generator: Generator | None = None
    text_encoder: TextEncoder | None = None
    image_encoder: InceptionImageEncoder | None = None
    discriminators: nn.ModuleList | None = None
    vocabulary: Vocabulary | None = None
    sources: dict[str, str] = field(default_factory=dict)  # file → sha256

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What there is, by the name of its safetensors file."""
        names = ("generator", "text_encoder", "image_encoder", "discriminators")
        return {name: network for name in names if (network := getattr(self, name)) is not None}


def read_vocabulary(path: Path) -> Vocabulary:
    """A ``vocabulary.json``, or the release's ``captions.pickle``."""
    if path.suffix == ".pickle":
        return read_caption_pickle(path)[2]
    return Vocabulary.from_json(path)


def read_released(
    *,
    generator: Path | None = None,
    text_encoder: Path | None = None,
    image_encoder: Path | None = None,
    discriminators: Sequence[Path] = (),
    vocabulary: Vocabulary | None = None,
    base: str | None = None,
    mask_mode: MaskMode = "aligned",
) -> Imported:
    """Load the given files; sizes come from them, everything else from the configuration called ``base``.

    ``base`` None: ``coco`` where the generator has COCO's three residual blocks, else ``cub``.

    Raises:
        ConfigError: nothing is given, or the networks do not fit each other.
        CheckpointError: a file is not what it is given as, or the vocabulary is another encoder's.
        FileNotFoundError: a file is missing.
    """
    files = [path for path in (generator, text_encoder, image_encoder, *discriminators) if path is not None]
    if not files:
        raise ConfigError(
            "nothing to import: give --generator, --text-encoder, --image-encoder or --discriminator"
        )
    made = Imported(
        config=named("cub"),
        generator=load_generator(generator, mask_mode=mask_mode) if generator else None,
        text_encoder=load_text_encoder(text_encoder) if text_encoder else None,
        image_encoder=load_image_encoder(image_encoder) if image_encoder else None,
        vocabulary=vocabulary,
        sources={str(path): sha256(path) for path in files},
    )
    loaded = sorted((load_discriminator(path) for path in discriminators), key=lambda network: network.size)
    made.discriminators = nn.ModuleList(loaded) if loaded else None
    blocks = made.generator.config.residual_blocks if made.generator else 2
    made.config = _config(made, named(base or ("coco" if blocks == 3 else "cub")))
    _check(made)
    return made


def _config(made: Imported, base: Config) -> Config:
    widths = {
        name: width
        for name, width in (
            ("generator", made.generator and made.generator.config.word_dim),
            ("text encoder", made.text_encoder and 2 * made.text_encoder.rightward.hidden_size),
            ("image encoder", made.image_encoder and made.image_encoder.code.out_features),
            ("discriminators", made.discriminators and _word_dim(made.discriminators[0])),
        )
        if width
    }
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{width} of the {name}" for name, width in widths.items())
        raise ConfigError(f"these networks do not belong together: their word widths are {told}")
    word_dim = next(iter(widths.values()))
    embedding = made.text_encoder.embedding.embedding_dim if made.text_encoder else base.text.embedding_dim
    width = made.discriminators[0].conditional.in_channels // 8 if made.discriminators else None
    return dataclasses.replace(
        base,
        name=f"{base.name}_released",
        text=TextConfig(word_dim=word_dim, embedding_dim=embedding, dropout=DROPOUT),
        image_encoder=ImageEncoderConfig(kind="inception", image_size=299),
        generator=made.generator.config
        if made.generator
        else dataclasses.replace(base.generator, word_dim=word_dim),
        discriminator=DiscriminatorConfig(width=width or base.discriminator.width, word_dim=word_dim),
    )


def _word_dim(discriminator: Discriminator) -> int:
    return discriminator.joint.in_channels - discriminator.conditional.in_channels


def _check(made: Imported) -> None:
    if made.discriminators is not None:
        sizes, wanted = tuple(network.size for network in made.discriminators), made.config.generator.sizes
        if sizes != wanted:
            raise ConfigError(f"give one discriminator for each image size {wanted}, got {sizes}")
        widths = {(network.conditional.in_channels, _word_dim(network)) for network in made.discriminators}
        if len(widths) > 1:
            raise ConfigError("the discriminators do not belong together: their widths differ")
    if made.vocabulary is not None and made.text_encoder is not None:
        known = made.text_encoder.embedding.num_embeddings
        if len(made.vocabulary) != known:
            raise CheckpointError(
                f"the text encoder knows {known} words and the vocabulary has {len(made.vocabulary)}: "
                "they are not of the same data set"
            )


def write_imported(made: Imported, out: Path) -> Path:
    """Write ``config.json``, ``vocabulary.json``, one safetensors file a network and ``import.json`` to ``out``.

    ``out`` must not exist or be empty. It appears as a whole: a failure leaves nothing behind.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} is not an empty folder: choose another, or remove it first")
    with _folder_in_the_making(out) as folder:
        write_config(folder, made.config)
        if made.vocabulary is not None:
            made.vocabulary.to_json(folder / "vocabulary.json")
        for name, network in made.networks.items():
            write_tensors(folder / f"{name}.safetensors", network.state_dict())
        record = {"imported from": {Path(path).name: digest for path, digest in made.sources.items()}}
        (folder / "import.json").write_text(json.dumps(record, indent=2) + "\n")
    return out


@contextmanager
def _folder_in_the_making(out: Path) -> Iterator[Path]:
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.{os.getpid()}.partial")
    folder.mkdir()
    try:
        yield folder
        os.replace(folder, out)  # over an empty folder too
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_written(made: Imported, out: Path) -> list[str]:
    """Read ``out`` back as sampling and training do; one line for each network that is the same, bit for bit.

    Raises:
        CheckpointError: a file does not hold what was imported.
    """
    config = read_config(out)
    fresh: dict[str, nn.Module] = {}
    if made.generator is not None:
        fresh["generator"] = Generator(config.generator)
    if made.text_encoder is not None:
        fresh["text_encoder"] = TextEncoder(made.text_encoder.embedding.num_embeddings, config.text)
    if made.image_encoder is not None:
        fresh["image_encoder"] = build_image_encoder(config)
    if made.discriminators is not None:
        fresh["discriminators"] = build_discriminators(config)
    lines = []
    for name, network in fresh.items():
        path = out / f"{name}.safetensors"
        state, expected = read_into(network, path).state_dict(), made.networks[name].state_dict()
        different = [key for key in expected if not torch.equal(state[key], expected[key])]
        if different:
            raise CheckpointError(f"{path} does not hold what was imported: {different[0]!r} differs")
        lines.append(f"{name:18s}{len(expected):3d} tensors written and read back, the same bit for bit")
    return lines
