"""Adversarial training: a run that can be stopped at any moment and goes on as if it had not been."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from memgan import fold_batchnorm
from reference_models.dmgan.config import Config, PretrainConfig
from reference_models.dmgan.data.batch import Batch, CaptionedImages
from reference_models.dmgan.discriminator import build_discriminators
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.initialisation import initialise
from reference_models.dmgan.training.checkpoint import (
    latest_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
    seed_everything,
)
from reference_models.dmgan.training.distributed import World, agree, all_objects, largest
from reference_models.dmgan.training.ema import ExponentialMovingAverage
from reference_models.dmgan.training.facts import (
    check_encoders,
    check_vocabulary,
    data_facts,
    encoders_digest,
)
from reference_models.dmgan.training.faults import explained
from reference_models.dmgan.training.going_on import GoingOn
from reference_models.dmgan.training.grid import FixedGrid
from reference_models.dmgan.training.guards import Guards
from reference_models.dmgan.training.loader import batches
from reference_models.dmgan.training.log import TrainingLog
from reference_models.dmgan.training.step import AdversarialStep, Networks
from reference_models.dmgan.training.stopping import until_asked_to_stop
from reference_models.dmgan.training.weights import Encoders, save_model, write_config

GOING_ON = GoingOn(
    command="train",
    network="generator",
    free={
        "data": {"workers", "root"},
        "train": {
            "images",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "keep_checkpoints",
            "tensorboard",
            "checkpoint_activations",
        },
        "pretrain": {field.name for field in fields(PretrainConfig)},
    },
    changeable={"train": {"generator_learning_rate", "discriminator_learning_rate", "precision"}},
)


class Trainer:
    """One run in ``out``: networks, optimisers, step, log, checkpoints."""

    def __init__(
        self,
        config: Config,
        images: CaptionedImages,
        encoders: Encoders,
        out: Path,
        *,
        device: torch.device | str = "cpu",
        start_from: tuple[Generator, torch.nn.ModuleList] | None = None,
        world: World | None = None,
        quiet: bool = False,
    ) -> None:
        self.config, self.images, self.out, self.device = config, images, out, torch.device(device)
        self.world = world or World()
        agree(self.world, data_facts(images))
        check_vocabulary(images.vocabulary, encoders.vocabulary)
        self.encoders_digest = encoders_digest(encoders)
        seed_everything(config.train.seed)
        if start_from is None:
            generator = initialise(Generator(config.generator))
            discriminators = initialise(build_discriminators(config))
        else:
            generator, discriminators = start_from
        layout = {"device": self.device, "memory_format": torch.channels_last}
        generator = generator.to(**layout).train().requires_grad_(True)  # type: ignore[call-overload]
        discriminators = discriminators.to(**layout).train()  # type: ignore[call-overload]
        encoders.text.to(self.device).eval().requires_grad_(False)
        encoders.image.to(**layout).eval().requires_grad_(False)  # type: ignore[call-overload]
        self.encoders = encoders  # as they are saved
        folded = replace(encoders, image=fold_batchnorm(encoders.image))
        average = ExponentialMovingAverage(generator, config.train.ema_decay)
        generator, discriminators = _as_configured(generator, discriminators, config, self.device)
        self.networks = Networks(generator, discriminators, average, folded)  # type: ignore[arg-type]
        self.update = AdversarialStep(self.networks, config, self.device, self.world)
        if self.world.rank:  # the weights above are the same on all ranks, the noise from here on is not
            seed_everything(config.train.seed + 1_000_003 * self.world.rank)
        self.guards = Guards()
        self.step = 0
        self.grid = FixedGrid(images, encoders, config, self.device)
        self.quiet = quiet or not self.world.first

    @property
    def steps(self) -> int:
        """How many steps the whole run has."""
        return max(1, self.config.train.images // self.config.train.batch_size)

    def resume(self, *, changed: bool = False) -> bool:
        """Go on from the newest whole checkpoint of ``out``. False: there is none.

        ``changed``: with the learning rates and the precision of this run's configuration where they are others.
        """
        found = latest_checkpoint(self.out / "checkpoints", self.device)
        if found is None:
            return False
        path, state = found
        changes = GOING_ON.check(path, state, self.config, self.world, changed=changed)
        check_encoders(path, state.get("encoders"), self.encoders_digest)
        self.networks.generator.load_state_dict(state["generator"])
        self.networks.average.module.load_state_dict(state["average"])
        self.networks.average.step = state["average_step"]
        self.networks.discriminators.load_state_dict(state["discriminators"])
        self.update.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.update.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.update.take_learning_rates()
        if state["scaler"]:  # of a run in float16
            self.update.scaler.load_state_dict(state["scaler"])
        self.guards.skipped = state["skipped"]
        self.step = state["step"]
        restore_random_state(state["random"][self.world.rank])
        for change in changes if not self.quiet else []:
            print(change)
        return True

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as tensors and plain values."""
        return {
            "config": self.config.to_dict(),
            "encoders": self.encoders_digest,
            "step": self.step,
            "generator": self.networks.generator.state_dict(),
            "average": self.networks.average.module.state_dict(),
            "average_step": self.networks.average.step,
            "discriminators": self.networks.discriminators.state_dict(),
            "generator_optimizer": self.update.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.update.discriminator_optimizer.state_dict(),
            "scaler": self.update.scaler.state_dict(),
            "skipped": self.guards.skipped,
            "random": all_objects(self.world, random_state()),
        }

    def save(self) -> Path:
        """Write a checkpoint and the folder that sampling reads; the first rank writes, all take part."""
        state, folder = self.state(), self.out / "checkpoints"
        if not self.world.first:
            return folder
        path = save_checkpoint(folder, self.step, state, keep=self.config.train.keep_checkpoints)
        nets = self.networks
        save_model(self.out / "export", self.config, nets.average.module, self.encoders, nets.discriminators)  # type: ignore[arg-type]
        return path

    def run(self, *, minutes: float | None = None) -> bool:
        """Train until the configured number of images, ``minutes``, or a signal. Whether the run is complete."""
        train = self.config.train
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        stream = batches(
            self.images,
            sizes=self.config.generator.sizes,
            batch_size=train.batch_size,
            seed=train.seed,
            start=self.step,
            steps=self.steps,
            rank=self.world.rank,
            world=self.world.size,
            workers=self.config.data.workers,
            pin_memory=self.device.type == "cuda",
        )
        with explained(self.out / "checkpoints"):
            log = self._begin()
        try:
            with explained(self.out / "checkpoints"), until_asked_to_stop() as asked:
                for batch in stream:
                    self.one_step(batch.to(self.device, non_blocking=True), log)
                    late = deadline is not None and time.monotonic() > deadline
                    # All ranks stop at one step, or the others would wait for ever.
                    if largest(self.world, int(late or asked()), self.device):
                        break
                path = self.save()
        finally:
            if log is not None:
                log.close()
        complete = self.step >= self.steps
        if not complete and not self.quiet:
            print(
                f"stopped after step {self.step} of {self.steps}, saved {path}; the same command with --resume goes on"
            )
        return complete

    def _begin(self) -> TrainingLog | None:
        if not self.world.first:
            return None
        train = self.config.train
        write_config(self.out, self.config)
        log = TrainingLog(
            self.out / "log.jsonl",
            self.steps * train.batch_size,
            what=self.config.name,
            tensorboard=train.tensorboard,
            quiet=self.quiet,
        )
        log.started(self.step * train.batch_size)
        return log

    def one_step(self, batch: Batch, log: TrainingLog | None) -> None:
        """One update, and what is due after it: log, grid, checkpoint."""
        train, settings = self.config.train, self.config.generator
        noise = torch.randn(len(batch), settings.noise_dim).to(self.device)
        condition_noise = torch.randn(len(batch), settings.condition_dim).to(self.device)
        due = self.step % self.config.loss.gradient_penalty_every == 0
        losses, fakes = self.update(batch, noise, condition_noise, penalise=due)
        self.step += 1
        values = losses.floats()
        self.guards.losses(self.step, values)
        if self.step % train.log_every == 0 or self.step == 1:
            share = self.guards.collapse(self.step, fakes, batch.images[-1])
            told = {"step": self.step, **values, "diversity": share, "skipped": self.guards.skipped}
            if log is not None:
                log.write(self.step * train.batch_size, told)
        if self.step % train.sample_every == 0 and self.world.first:
            self.grid.write(self.networks.average.module, self.out / "grids" / f"step_{self.step:08d}.png")
        if self.step % train.checkpoint_every == 0:
            self.save()


def _as_configured(
    generator: torch.nn.Module, discriminators: torch.nn.ModuleList, config: Config, device: torch.device
) -> tuple[torch.nn.Module, torch.nn.ModuleList]:
    """Recomputed activations, synchronised BatchNorm and compilation, where they are asked for."""
    train = config.train
    generator.checkpoint_activations = train.checkpoint_activations
    if train.sync_batchnorm:
        if device.type != "cuda":
            raise ConfigError("`train.sync_batchnorm` needs GPUs: torch synchronises BatchNorm there alone")
        generator = torch.nn.SyncBatchNorm.convert_sync_batchnorm(generator)
    if train.compile:  # in place: the names of the weights stay
        for network in (generator, *discriminators):
            network.compile()
    return generator, discriminators
