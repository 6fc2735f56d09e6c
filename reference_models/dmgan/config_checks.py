"""What numbers of a configuration may be, one line a field, and which must fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from reference_models.dmgan.errors import ConfigError

SPREAD_GROUP = 8  # images of a batch whose spread discriminators look at together
UNCHECKED: ContextVar[bool] = ContextVar("UNCHECKED", default=False)


@contextmanager
def unchecked() -> Iterator[None]:
    """Configurations that are made in here are not checked: for a parser, whose own words would hide the error's."""
    token = UNCHECKED.set(True)
    try:
        yield
    finally:
        UNCHECKED.reset(token)


@dataclass(frozen=True)
class Bounds:
    """``least`` (or, where ``above``, more than that) to ``most`` (or, where ``below``, less than that)."""

    least: float
    most: float | None = None
    above: bool = False
    below: bool = False

    def hold(self, value: float) -> bool:
        """Whether ``value`` lies in them; NaN does not."""
        enough = value > self.least if self.above else value >= self.least
        return enough and (self.most is None or (value < self.most if self.below else value <= self.most))

    def __str__(self) -> str:
        low = f"{'more than' if self.above else 'at least'} {self.least:g}"
        if self.most is None:
            return low
        return f"{low} and {'less than' if self.below else 'at most'} {self.most:g}"


COUNT, NONE_OR_MORE, SEED = Bounds(1), Bounds(0), Bounds(0, 2**63 - 1)
POSITIVE, WEIGHT = Bounds(0, above=True), Bounds(0)
RATE = Bounds(0)  # of learning; 0: it stays as it is
PROBABILITY = Bounds(0, 1, below=True)
OF = {
    "data": {"seed": SEED, "images": COUNT, "workers": NONE_OR_MORE, "max_words": COUNT},
    "text": {"word_dim": Bounds(2), "embedding_dim": COUNT, "dropout": PROBABILITY},
    "image_encoder": {"width": COUNT, "image_size": COUNT},
    "generator": {
        "channels": COUNT,
        "noise_dim": COUNT,
        "condition_dim": COUNT,
        "refinements": NONE_OR_MORE,
        "residual_blocks": NONE_OR_MORE,
    },
    "discriminator": {"width": COUNT},
    "loss": {
        "kl": WEIGHT,
        "damsm": WEIGHT,
        "gamma1": POSITIVE,
        "gamma2": POSITIVE,
        "gamma3": POSITIVE,
        "gradient_penalty": WEIGHT,
        "gradient_penalty_every": COUNT,
    },
    "pretrain": {
        "images": COUNT,
        "batch_size": Bounds(2),  # a pair must be told from another
        "learning_rate": RATE,
        "decay": Bounds(0, 1, above=True),
        "rnn_gradient_clip": POSITIVE,
        "seed": SEED,
    },
    "train": {
        "images": COUNT,
        "generator_learning_rate": RATE,
        "discriminator_learning_rate": RATE,
        "betas": PROBABILITY,
        "ema_decay": PROBABILITY,
        "seed": SEED,
        "log_every": COUNT,
        "sample_every": COUNT,
        "checkpoint_every": COUNT,
        "keep_checkpoints": COUNT,
    },
}


def check_numbers(config: Any) -> None:
    """Refuse the first number that is out of its bounds.

    Raises:
        ConfigError: it names the field, the bounds and the value.
    """
    for section, fields in OF.items():
        for name, bounds in fields.items():
            value = getattr(getattr(config, section), name)
            for number in value if isinstance(value, tuple) else (value,):
                if not bounds.hold(number):
                    raise ConfigError(f"`{section}.{name}` must be {bounds}, got {value}")


def check_together(config: Any) -> None:
    """Refuse fields that do not fit each other, and sizes that no network has.

    Raises:
        ConfigError: it names the fields, what is expected and what came.
    """
    widths = config.text.word_dim, config.generator.word_dim, config.discriminator.word_dim
    if len(set(widths)) != 1:
        raise ConfigError(
            "`text.word_dim`, `generator.word_dim` and `discriminator.word_dim` must be equal, got "
            "{}, {} and {}".format(*widths)
        )
    statistics, features = config.discriminator.minibatch_std, 8 * config.discriminator.width
    if statistics < 0 or (statistics and features % statistics):
        raise ConfigError(
            f"`discriminator.minibatch_std` must be 0 or divide 8 * `discriminator.width` = {features}, "
            f"got {statistics}"
        )
    if statistics and config.train.batch_size % SPREAD_GROUP:
        raise ConfigError(
            f"`train.batch_size` must be a multiple of {SPREAD_GROUP} with `discriminator.minibatch_std`, "
            f"got {config.train.batch_size}"
        )
    size = config.generator.first_size
    if size < 8 or size & (size - 1):
        raise ConfigError(f"`generator.first_size` must be a power of two of at least 8, got {size}")
    if config.train.batch_size < 2:
        raise ConfigError(f"`train.batch_size` must be at least 2 (BatchNorm), got {config.train.batch_size}")
