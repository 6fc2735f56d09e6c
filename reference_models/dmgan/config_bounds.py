"""What numbers of a configuration may be: one line a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reference_models.dmgan.errors import ConfigError


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


COUNT, NONE_OR_MORE, SEED = Bounds(1), Bounds(0), Bounds(0)
POSITIVE, WEIGHT = Bounds(0, above=True), Bounds(0)
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
        "learning_rate": POSITIVE,
        "decay": Bounds(0, 1, above=True),
        "rnn_gradient_clip": POSITIVE,
        "seed": SEED,
    },
    "train": {
        "images": COUNT,
        "generator_learning_rate": POSITIVE,
        "discriminator_learning_rate": POSITIVE,
        "betas": PROBABILITY,
        "ema_decay": Bounds(0, 1),
        "seed": SEED,
        "log_every": COUNT,
        "sample_every": COUNT,
        "checkpoint_every": COUNT,
        "keep_checkpoints": COUNT,
    },
}


def check_bounds(config: Any) -> None:
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
