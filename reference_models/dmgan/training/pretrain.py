"""DAMSM pre-training (AttnGAN, section 3.2): the text and the image encoder learn to find each other."""

from __future__ import annotations

import math
import time
from dataclasses import fields
from pathlib import Path

import torch

from reference_models.dmgan.config import (
    Config,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    TrainConfig,
)
from reference_models.dmgan.data.batch import Batch, CaptionedImages
from reference_models.dmgan.errors import ConfigError, TrainingStopped
from reference_models.dmgan.image_encoder import build_image_encoder, trained_parameters
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.checkpoint import (
    latest_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
    seed_everything,
)
from reference_models.dmgan.training.damsm import gathered_damsm
from reference_models.dmgan.training.distributed import World, agree, all_objects, largest, mean, parallel
from reference_models.dmgan.training.facts import data_facts
from reference_models.dmgan.training.faults import explained
from reference_models.dmgan.training.going_on import GoingOn
from reference_models.dmgan.training.loader import batches
from reference_models.dmgan.training.log import TrainingLog
from reference_models.dmgan.training.step import PRECISIONS
from reference_models.dmgan.training.stopping import until_asked_to_stop
from reference_models.dmgan.training.weights import Encoders, save_encoders

LOOKS = 20  # lines of the log, and checkpoints, of a whole run
KEEP = 2  # checkpoints
# Of the other sections pre-training reads the temperatures of the losses, and the precision.
UNREAD = {
    section: {field.name for field in fields(kind)} - read
    for section, kind, read in (
        ("train", TrainConfig, {"precision"}),
        ("loss", LossConfig, {"gamma1", "gamma2", "gamma3"}),
        ("generator", GeneratorConfig, set()),
        ("discriminator", DiscriminatorConfig, set()),
    )
}
GOING_ON = GoingOn(
    command="pretrain",
    network="text",
    free={"data": {"workers", "root"}, **UNREAD},
    changeable={"pretrain": {"learning_rate", "images"}, "train": {"precision"}},
)


class Pretrainer:
    """One run of DAMSM pre-training in ``out``: encoders, optimiser, log, checkpoints.

    One Adam for the whole run (the release makes a new one each epoch), its rate down to a tenth; the text encoder's
    recurrent gradients are clipped. Both DAMSM losses, both directions.
    """

    def __init__(
        self,
        config: Config,
        images: CaptionedImages,
        out: Path,
        *,
        device: torch.device | str = "cpu",
        world: World | None = None,
        quiet: bool = False,
    ) -> None:
        if config.train.precision == "float16":
            raise ConfigError(
                "`train.precision` must be float32 or bfloat16 in pre-training, which scales no loss, got 'float16'"
            )
        self.config, self.images, self.out, self.device = config, images, out, torch.device(device)
        self.world = world or World()
        self.quiet = quiet or not self.world.first
        agree(self.world, data_facts(images))
        seed_everything(config.pretrain.seed)
        self.encoders = Encoders(
            TextEncoder(len(images.vocabulary), config.text).to(self.device).train(),
            build_image_encoder(config).to(self.device, memory_format=torch.channels_last).train(),  # type: ignore[call-overload]
            images.vocabulary,
        )
        self._text = parallel(self.world, self.encoders.text, self.device)
        self._image = parallel(self.world, self.encoders.image, self.device)
        parameters = [*self.encoders.text.parameters(), *trained_parameters(self.encoders.image)]
        self.optimizer = torch.optim.Adam(
            parameters, config.pretrain.learning_rate, (0.5, 0.999), foreach=True
        )
        self.step = 0
        if self.world.rank:  # dropout differs from rank to rank
            seed_everything(config.pretrain.seed + 1_000_003 * self.world.rank)

    @property
    def steps(self) -> int:
        """How many steps the whole run has."""
        return max(1, self.config.pretrain.images // self.config.pretrain.batch_size)

    def resume(self, *, changed: bool = False) -> bool:
        """Go on from the newest whole checkpoint of ``out``. False: there is none.

        ``changed``: with this configuration's learning rate, images and precision where they are others.
        """
        found = latest_checkpoint(self.out / "checkpoints", self.device)
        if found is None:
            return False
        path, state = found
        changes = GOING_ON.check(path, state, self.config, self.world, changed=changed)
        self.encoders.text.load_state_dict(state["text"])
        self.encoders.image.load_state_dict(state["image"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        restore_random_state(state["random"][self.world.rank])
        for change in changes if not self.quiet else []:
            print(change)
        return True

    def save(self) -> None:
        """Write a checkpoint; the first rank writes, all take part."""
        state = {
            "config": self.config.to_dict(),
            "step": self.step,
            "text": self.encoders.text.state_dict(),
            "image": self.encoders.image.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": all_objects(self.world, random_state()),
        }
        if self.world.first:
            save_checkpoint(self.out / "checkpoints", self.step, state, keep=KEEP)

    def run(self) -> Encoders:
        """Train to the end, and write the encoders to ``out``."""
        settings, began = self.config.pretrain, time.perf_counter()
        stream = batches(
            self.images,
            sizes=(pretrain_size(self.config),),
            batch_size=settings.batch_size,
            seed=settings.seed,
            start=self.step,
            steps=self.steps,
            rank=self.world.rank,
            world=self.world.size,
            workers=self.config.data.workers,
        )
        with explained(self.out / "checkpoints"):
            log = self._begin()
        try:
            look = max(1, self.steps // LOOKS)
            with explained(self.out / "checkpoints"), until_asked_to_stop() as asked:
                for batch in stream:
                    batch = batch.to(self.device)
                    loss = self.one_step(batch)
                    if self.step % look == 0 or self.step == self.steps:
                        figures = [loss, retrieval_accuracy(self.encoders, batch)]
                        told = mean(self.world, torch.tensor(figures, device=self.device))
                        if log is not None:
                            values = dict(zip(("damsm", "top1"), told.tolist()))
                            log.write(self.step * settings.batch_size, values)
                        self.save()
                    if largest(self.world, int(asked()), self.device):
                        self.save()
                        raise TrainingStopped(
                            f"stopped after step {self.step} of {self.steps}, saved; "
                            "the same command with --resume goes on"
                        )
        finally:
            if log is not None:
                log.close()
        for encoder in (self.encoders.text, self.encoders.image):
            encoder.eval().requires_grad_(False)
        if self.world.first:
            with explained(self.out / "checkpoints"):
                save_encoders(self.out, self.encoders, self.config)
        if not self.quiet:
            print(f"wrote {self.out} after {time.perf_counter() - began:.0f} s")
        return self.encoders

    def _begin(self) -> TrainingLog | None:
        if not self.world.first:
            return None
        batch = self.config.pretrain.batch_size
        log = TrainingLog(self.out / "log.jsonl", self.steps * batch, what="pretrain", quiet=self.quiet)
        log.started(self.step * batch)
        return log

    def one_step(self, batch: Batch) -> float:
        """One update of both encoders; the loss."""
        settings, dtype = self.config.pretrain, PRECISIONS[self.config.train.precision]
        # The release's 0.98 an epoch, for runs that are not counted in epochs: 0.98^114 is a tenth.
        decay = max(0.1, settings.decay ** (114 * self.step / self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * decay
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
            regions, code = self._image(batch.images[-1].contiguous(memory_format=torch.channels_last))
        words, sentence = self._text(batch.captions, batch.lengths)
        mask = batch.word_mask[:, : words.shape[1]]
        loss = gathered_damsm(
            self.world, regions, code, words, sentence, mask, batch.class_ids, config=self.config.loss
        ).total
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.encoders.text.rnn_parameters(), settings.rnn_gradient_clip)
        self.optimizer.step()
        self.step += 1
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingStopped(
                f"the loss of step {self.step} is {value}; go on from the last checkpoint by --resume --changed with a "
                "lower --pretrain.learning-rate"
            )
        return value


def pretrain(
    config: Config,
    images: CaptionedImages,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> Encoders:
    """Train both encoders on ``images`` and write them to ``out``: a :class:`Pretrainer` from start to end."""
    return Pretrainer(config, images, out, device=device, quiet=quiet).run()


def pretrain_size(config: Config) -> int:
    """Pixels of the images that the encoders are trained on."""
    return config.image_encoder.image_size if config.image_encoder.kind == "small" else 304


@torch.no_grad()
def retrieval_accuracy(encoders: Encoders, batch: Batch) -> float:
    """Share of images whose own sentence is nearest to their code among the batch's."""
    training = encoders.text.training, encoders.image.training
    encoders.text.eval()
    encoders.image.eval()  # or a look would move the averages of its BatchNorm
    _, sentence = encoders.text(batch.captions, batch.lengths)
    _, code = encoders.image(batch.images[-1])
    for encoder, before in zip((encoders.text, encoders.image), training):
        encoder.train(before)
    similarity = torch.nn.functional.normalize(code) @ torch.nn.functional.normalize(sentence).t()
    return float((similarity.argmax(1) == torch.arange(len(batch), device=code.device)).float().mean())
