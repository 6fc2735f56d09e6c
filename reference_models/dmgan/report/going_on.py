"""A minute of further training from a model's folder, watched: its log, and the same captions drawn on the way."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reference_models.dmgan.config import Config
from reference_models.dmgan.data.batch import Batch, CaptionedImages
from reference_models.dmgan.report.data import Frames
from reference_models.dmgan.report.explain import inspect, pixels
from reference_models.dmgan.sampling import SampledModel
from reference_models.dmgan.training.log import TrainingLog, read_log
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import load_encoders, read_config, starting_networks

LOG_EVERY = 1  # steps: a busy machine's minute has few
TELL_EVERY = 10.0  # seconds
LONGEST = 300_000  # images: nobody's minute has more


@dataclass(frozen=True)
class GoneOn:
    """What the further training left."""

    log: list[dict[str, Any]]
    frames: Frames
    images: int  # seen
    seconds: float
    discriminators: str  # "shipped" or "from scratch"


def go_on(
    folder: Path,
    images: CaptionedImages,
    captions: Sequence[str],
    out: Path,
    *,
    minutes: float,
    frames: int = 3,
    seed: int = 0,
    workers: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> GoneOn:
    """Train the model of ``folder`` for ``minutes`` more and draw ``captions`` at ``frames`` moments.

    ``workers`` processes draw real images meanwhile. The averaged generator is where both the generator and its
    average begin; discriminators that are not in the folder start from nothing. Ctrl-C ends the training early,
    not the caller.
    """
    config = further(read_config(folder), seed, workers)
    encoders = load_encoders(folder, config)
    shipped = (folder / "discriminators.safetensors").is_file()
    trainer = WatchedTrainer(
        config,
        images,
        encoders,
        out,
        start_from=starting_networks(folder, config),
        quiet=True,
    )
    trainer.watch(captions, minutes, frames, seed, say)
    (out / "log.jsonl").unlink(missing_ok=True)  # of an earlier demo in the same folder
    start = time.monotonic()
    trainer.run(minutes=minutes)
    seconds = time.monotonic() - start
    trainer.draw(f"after {seconds:.0f} s")
    return GoneOn(
        read_log(out / "log.jsonl"),
        Frames(tuple(trainer.labels), tuple(trainer.rows), tuple(captions)),
        trainer.step * config.train.batch_size,
        seconds,
        "shipped" if shipped else "from scratch",
    )


def further(config: Config, seed: int, workers: int) -> Config:
    """The configuration of a short run: logs often, saves once, sees other images than the first run began with."""
    train = dataclasses.replace(
        config.train,
        images=LONGEST,
        log_every=LOG_EVERY,
        sample_every=LONGEST,
        checkpoint_every=LONGEST,
        keep_checkpoints=1,
        tensorboard=False,
        seed=seed + 1000,
    )
    return dataclasses.replace(config, train=train, data=dataclasses.replace(config.data, workers=workers))


class WatchedTrainer(Trainer):
    """A trainer that tells how it goes and draws captions at even moments of its time."""

    def watch(
        self,
        captions: Sequence[str],
        minutes: float,
        frames: int,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        """What to draw, when; the first row is drawn now."""
        self.captions, self.seed, self.say = tuple(captions), seed, say
        self.labels: list[str] = []
        self.rows: list[tuple[np.ndarray, ...]] = []
        self.draw("as shipped")
        self._due = [60 * minutes * part / (frames - 1) for part in range(1, frames - 1)]
        self._began: float | None = None
        self._told = 0.0

    def draw(self, label: str) -> None:
        """Draw every caption with the averaged generator, always with the same noise."""
        encoders = self.networks.encoders
        average = self.networks.average.module
        model = SampledModel(average, encoders.text, encoders.vocabulary, self.config)  # type: ignore[arg-type]
        self.labels.append(label)
        self.rows.append(
            tuple(pixels(inspect(model, text, seed=self.seed).images[-1])[0] for text in self.captions)
        )

    def one_step(self, batch: Batch, log: TrainingLog) -> None:
        """A step, then whatever is due by the clock."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        super().one_step(batch, log)
        since = time.monotonic() - self._began
        if self._due and since >= self._due[0]:
            self._due.pop(0)
            self.draw(f"after {since:.0f} s")
        if since - self._told >= TELL_EVERY:
            self._told = since
            seen = self.step * self.config.train.batch_size
            self.say(f"training: {seen} images, {seen / since:.0f} images/s")
