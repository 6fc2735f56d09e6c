"""What must be alike: in every process of a run, and in a checkpoint and the run that goes on from it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

import memgan
from reference_models.dmgan.config import Config
from reference_models.dmgan.config_checks import SPREAD_GROUP
from reference_models.dmgan.data.batch import CaptionedImages
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import CheckpointError, ConfigError
from reference_models.dmgan.training.distributed import World
from reference_models.dmgan.training.weights import Encoders


def run_facts(config: Config) -> dict[str, str]:
    """Name → value, short enough to be read in an error."""
    return {
        "configuration": config.digest(),
        "code": code_digest(),
        "torch": torch.__version__,
        "memgan": memgan.__version__,
    }


def data_facts(images: CaptionedImages) -> dict[str, str]:
    """Name → value of the data set: another copy of it on one machine would shift that rank's images."""
    words = hashlib.sha256("\n".join(images.vocabulary.words).encode()).hexdigest()[:12]
    return {"number of images": str(len(images)), "vocabulary": f"{len(images.vocabulary)} words ({words})"}


def encoders_digest(encoders: Encoders) -> str:
    """Twelve digits that change with any of the encoders' weights and words."""
    digest = hashlib.sha256("\n".join(encoders.vocabulary.words).encode())
    for module in (encoders.text, encoders.image):
        for name, value in module.state_dict().items():
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def check_vocabulary(data: Vocabulary, encoder: Vocabulary) -> None:
    """Refuse data whose ids mean other words to the text encoder.

    Raises:
        ConfigError: the first word that differs is named.
    """
    if data.words == encoder.words:
        return
    pairs = enumerate(zip((*data.words, None), (*encoder.words, None)))
    place, (one, other) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    raise ConfigError(
        f"the data have {len(data)} words and the encoders know {len(encoder)}: word {place} is "
        f"{'none' if one is None else repr(one)} in the data and {'none' if other is None else repr(other)} to them; "
        "take encoders that were pre-trained on these data"
    )


def check_encoders(path: Path, saved: str | None, found: str) -> None:
    """Refuse to go on with other encoders than the checkpoint's run had; an old checkpoint does not tell."""
    if saved is not None and saved != found:
        raise CheckpointError(
            f"{path} was made with other encoders (their digest is {saved}, that of these {found}): give those"
        )


def code_digest() -> str:
    """Twelve digits of the sources of memgan and of this package."""
    digest = hashlib.sha256()
    for root in (Path(memgan.__file__).parent, Path(__file__).parents[1]):
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def check_share(config: Config, world: World) -> None:
    """Refuse processes that each get no whole group: discriminators would mix real and drawn images in one.

    Raises:
        ConfigError: with ``discriminator.minibatch_std`` alone.
    """
    if config.discriminator.minibatch_std and config.train.batch_size % (SPREAD_GROUP * world.size):
        raise ConfigError(
            f"`train.batch_size` must give each of {world.size} processes a multiple of {SPREAD_GROUP} images with "
            f"`discriminator.minibatch_std`, got {config.train.batch_size} in all"
        )
