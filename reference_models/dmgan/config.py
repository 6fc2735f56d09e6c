"""Configurations: a run is a function that returns one frozen :class:`Config`.

``birds_demo()`` trains on two CPU cores, ``birds_full()`` is the paper's size on the embedded data,
``cub()`` and ``coco()`` are the paper. ``GeneratorConfig.arm`` is an arm of the ablation (not its widened baseline).
Change a field with ``dataclasses.replace`` or on the command line (``--train.batch-size 16``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from reference_models.dmgan.config_checks import UNCHECKED, check_numbers, check_together
from reference_models.dmgan.errors import ConfigError

Arm = Literal["baseline", "memory", "write_gate", "full"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where captions and images come from."""

    layout: Literal["birds", "cub", "coco", "flowers", "folder", "shards"] = "birds"
    root: str = ""  # a folder; not used by the embedded birds
    seed: int = 0  # of the embedded birds
    images: int = 30_000  # training images of the embedded birds; the released layouts have their own count
    workers: int = 2  # processes that read or render
    max_words: int = 18  # a longer caption is sub-sampled, its order kept


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The bi-LSTM text encoder."""

    word_dim: int = 256  # E: both directions together
    embedding_dim: int = 300
    dropout: float = 0.5


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig:
    """The image half of DAMSM."""

    kind: Literal["inception", "small"] = "small"
    weights: str = ""  # Inception-v3's published weight file; needed by "inception"
    width: int = 32  # channels of the first stage of "small"
    image_size: int = 64  # what "small" is trained at; "inception" resizes to 299 itself


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Three stages: an initial image, then refinements that double it."""

    channels: int = 64  # C
    noise_dim: int = 100  # Z
    condition_dim: int = 100
    word_dim: int = 256  # E
    first_size: int = 64  # pixels of the first image: 4 * 2**k
    refinements: int = 2
    residual_blocks: int = 2
    arm: Arm = "full"
    mask_mode: Literal["aligned", "release"] = "aligned"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Image sizes in pixels, lowest first."""
        return tuple(self.first_size * 2**stage for stage in range(self.refinements + 1))


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """One discriminator an image size."""

    width: int = 32  # DF
    spectral_norm: bool = True
    word_dim: int = 256  # E, the sentence vector's width
    minibatch_std: int = 0  # statistics of how much eight images differ (Karras et al., 2018); 0: as released


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the generator's loss (section 3 of the paper) and the temperatures of DAMSM."""

    kl: float = 1.0
    damsm: float = 5.0  # lambda 2
    gamma1: float = 4.0
    gamma2: float = 5.0
    gamma3: float = 10.0
    gradient_penalty: float = 0.0  # R1 on real images of the discriminators; 0: none, as released
    gradient_penalty_every: int = (
        1  # steps; the penalty is then that many times as heavy (Karras et al., 2020)
    )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """DAMSM pre-training of both encoders."""

    images: int = 150_000  # image-caption pairs seen
    batch_size: int = 48
    learning_rate: float = 2e-3
    decay: float = 0.98  # a factor an epoch, down to a tenth
    rnn_gradient_clip: float = 0.25
    seed: int = 100


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Adversarial training."""

    images: int = 400_000  # real images seen by each discriminator
    batch_size: int = 32
    generator_learning_rate: float = 2e-4
    discriminator_learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    ema_decay: float = 0.999
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    seed: int = 0
    log_every: int = 50  # steps
    sample_every: int = 1000  # steps between grids of fixed captions and noise
    checkpoint_every: int = 500  # steps
    keep_checkpoints: int = 3
    compile: bool = False  # torch.compile of generator and discriminators
    checkpoint_activations: bool = False
    sync_batchnorm: bool = False  # only on GPUs
    tensorboard: bool = False


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a run depends on; stored in each checkpoint."""

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    text: TextConfig = field(default_factory=TextConfig)
    image_encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not UNCHECKED.get():
            self.check()

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises:
            ConfigError: it names the field, what is expected and what came.
        """
        check_numbers(self)
        check_together(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """The inverse of :meth:`to_dict`; an unknown or missing field is named."""
        return _from_dict(cls, values, "config")

    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when any field does."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _from_dict(cls: type, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold named fields, got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"{path}: unknown field {unknown[0]!r}; known: {', '.join(sorted(fields))}")
    sections = {
        "data": DataConfig,
        "text": TextConfig,
        "image_encoder": ImageEncoderConfig,
        "generator": GeneratorConfig,
        "discriminator": DiscriminatorConfig,
        "loss": LossConfig,
        "pretrain": PretrainConfig,
        "train": TrainConfig,
    }
    built = {}
    for name, value in values.items():
        if cls is Config and name in sections:
            value = _from_dict(sections[name], value, f"{path}.{name}")
        elif isinstance(value, list):
            value = tuple(value)
        built[name] = value
    return cls(**built)


def birds_demo() -> Config:
    """The embedded birds at 16/32/64 pixels: trains in about two hours on two CPU cores."""
    return Config(
        name="birds_demo",
        data=DataConfig(layout="birds", images=30_000, workers=0),
        text=TextConfig(word_dim=128, embedding_dim=128, dropout=0.2),
        image_encoder=ImageEncoderConfig(kind="small", width=32, image_size=64),
        generator=GeneratorConfig(
            channels=32, noise_dim=32, condition_dim=32, word_dim=128, first_size=16, residual_blocks=1
        ),
        # Without spectral norm and with a light R1 these discriminators see what a small one under both cannot: eyes,
        # edges, clean colours. A heavier DAMSM draws its captions into the texture.
        discriminator=DiscriminatorConfig(width=32, spectral_norm=False, word_dim=128),
        loss=LossConfig(damsm=0.5, gradient_penalty=0.05, gradient_penalty_every=8),
        train=TrainConfig(batch_size=16, discriminator_learning_rate=4e-4, precision="bfloat16"),
    )


def birds_full() -> Config:
    """The paper's sizes (64/128/256 pixels, C 64) on the embedded birds."""
    return Config(
        name="birds_full",
        data=DataConfig(layout="birds", images=100_000),
        image_encoder=ImageEncoderConfig(kind="small", width=64, image_size=128),
        train=TrainConfig(images=4_000_000, batch_size=32),
    )


def cub() -> Config:
    """CUB-200-2011 as the paper trains it."""
    return Config(
        name="cub",
        data=DataConfig(layout="cub", root="data/birds", max_words=18),
        image_encoder=ImageEncoderConfig(kind="inception", image_size=299),
        pretrain=PretrainConfig(images=8_855 * 600),
        train=TrainConfig(images=8_855 * 600, batch_size=10, precision="float32"),
    )


def coco() -> Config:
    """COCO 2014 as the paper trains it."""
    return Config(
        name="coco",
        data=DataConfig(layout="coco", root="data/coco", max_words=12),
        image_encoder=ImageEncoderConfig(kind="inception", image_size=299),
        generator=GeneratorConfig(residual_blocks=3),
        loss=LossConfig(damsm=50.0),
        pretrain=PretrainConfig(images=82_783 * 120),
        train=TrainConfig(images=82_783 * 120, batch_size=16, precision="float32"),
    )


CONFIGS = {"birds_demo": birds_demo, "birds_full": birds_full, "cub": cub, "coco": coco}


def named(name: str) -> Config:
    """The configuration called ``name``."""
    if name not in CONFIGS:
        raise ConfigError(f"`config` must be one of {', '.join(CONFIGS)}, got {name!r}")
    return CONFIGS[name]()
