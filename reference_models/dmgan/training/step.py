"""One adversarial update: every discriminator on real, fake and wrongly paired images, then the generator."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_models.dmgan.config import Config
from reference_models.dmgan.data.batch import Batch
from reference_models.dmgan.losses import (
    discriminator_logits,
    discriminator_loss,
    generator_adversarial_loss,
    kl_loss,
)
from reference_models.dmgan.training.damsm import gathered_damsm
from reference_models.dmgan.training.distributed import World, all_true, mean, parallel
from reference_models.dmgan.training.ema import ExponentialMovingAverage
from reference_models.dmgan.training.weights import Encoders

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Networks:
    """What training changes, and the frozen encoders; the trainer folds BatchNorm out of the image encoder."""

    generator: nn.Module
    discriminators: nn.ModuleList
    average: ExponentialMovingAverage
    encoders: Encoders


@dataclass(frozen=True)
class Losses:
    """Scalars of one step, on the training device; :meth:`floats` reads them."""

    values: dict[str, Tensor]
    world: World

    def floats(self) -> dict[str, float]:
        """Their means over ranks: one exchange and one transfer for all of them."""
        stacked = torch.stack([value.detach().float() for value in self.values.values()])
        return dict(zip(self.values, mean(self.world, stacked).tolist()))


def make_optimizers(networks: Networks, config: Config) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Adam for the generator and for all discriminators together (the same as one each: Adam is elementwise)."""
    train = config.train
    generator = torch.optim.Adam(
        networks.generator.parameters(), train.generator_learning_rate, train.betas, fused=True
    )
    discriminators = torch.optim.Adam(
        networks.discriminators.parameters(), train.discriminator_learning_rate, train.betas, fused=True
    )
    return generator, discriminators


class AdversarialStep:
    """Updates ``networks`` by one batch. Holds the optimisers and the loss scaler.

    The discriminators judge the largest images; where there are fewer of them than sizes (a first stage that is
    frozen needs none), the smaller images are judged by nobody.
    """

    def __init__(
        self, networks: Networks, config: Config, device: torch.device, world: World | None = None
    ) -> None:
        self.networks, self.config, self.device, self.world = networks, config, device, world or World()
        self._generator = parallel(self.world, networks.generator, device)
        self._discriminators = [parallel(self.world, one, device) for one in networks.discriminators]
        self.generator_optimizer, self.discriminator_optimizer = make_optimizers(networks, config)
        self.dtype = PRECISIONS[config.train.precision]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)

    def take_learning_rates(self) -> None:
        """The configuration's, where an optimiser's stored state has others."""
        train = self.config.train
        for optimizer, rate in (
            (self.generator_optimizer, train.generator_learning_rate),
            (self.discriminator_optimizer, train.discriminator_learning_rate),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision as configured; off for float32."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def __call__(
        self, batch: Batch, noise: Tensor, condition_noise: Tensor, *, penalise: bool = True
    ) -> tuple[Losses, Tensor]:
        """Losses of the step, and the largest fakes (B, 3, S, S) in [-1, 1], without gradient.

        ``penalise``: whether the gradient penalty, if there is one, is due in this step.

        Updates are skipped where a loss or a gradient is not finite: the loss is then reported as it came.
        """
        nets = self.networks
        with torch.no_grad():
            words, sentence = nets.encoders.text(batch.captions, batch.lengths)
        mask = batch.word_mask[:, : words.shape[1]]
        with self.autocast():
            output = self._generator(noise, sentence, words, mask, condition_noise=condition_noise)
        loss = self.config.loss
        penalty = loss.gradient_penalty * loss.gradient_penalty_every if penalise else 0.0
        fakes = [image.detach() for image in output.images]
        values = self._train_discriminators(batch, fakes, sentence, penalty)
        values |= self._train_generator(batch, output, words, sentence, mask)
        return Losses(values, self.world), output.images[-1].detach().float()

    def _train_discriminators(
        self, batch: Batch, fakes: list[Tensor], sentence: Tensor, penalty: float
    ) -> dict[str, Tensor]:
        nets = self.networks
        nets.discriminators.requires_grad_(True)
        values, total = {}, torch.zeros((), device=self.device)
        for discriminator, real, fake in zip(
            self._discriminators, self._judged(batch.images), self._judged(fakes), strict=True
        ):
            real = real.detach().requires_grad_(penalty > 0)
            with self.autocast():
                logits = discriminator_logits(discriminator, real, fake, sentence, batch.wrong_index)
            loss = discriminator_loss(logits, batch.wrong_index)
            if penalty > 0:
                loss = loss + penalty * _r1(logits.real, real)
            size = real.shape[-1]
            values[f"d{size}"] = loss
            values[f"d{size}_real"] = torch.sigmoid(logits.real.detach().float()).mean()
            values[f"d{size}_fake"] = torch.sigmoid(logits.fake.detach().float()).mean()
            total = total + loss
        if not self._update(self.discriminator_optimizer, total, nets.discriminators):
            values |= self._skipped("discriminators")
        return values

    def _judged(self, images: list[Tensor]) -> list[Tensor]:
        """Those of the images of all sizes, lowest first, that there is a discriminator for."""
        return images[len(images) - len(self._discriminators) :]

    def _train_generator(
        self, batch: Batch, output: object, words: Tensor, sentence: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        nets, weights = self.networks, self.config.loss
        images, mu, logvar = output.images, output.mu, output.logvar  # type: ignore[attr-defined]
        nets.discriminators.requires_grad_(False)  # their gradients would be computed and thrown away
        values = {}
        adversarial = torch.zeros((), device=self.device)
        for discriminator, fake in zip(nets.discriminators, self._judged(images), strict=True):
            with self.autocast():
                conditional, unconditional = discriminator(fake, sentence)
            adversarial = adversarial + generator_adversarial_loss(conditional, unconditional)
        with self.autocast():
            regions, code = nets.encoders.image(images[-1])
        damsm = gathered_damsm(
            self.world, regions, code, words, sentence, mask, batch.class_ids, config=weights
        ).total
        kl = kl_loss(mu, logvar)
        total = adversarial + weights.damsm * damsm + weights.kl * kl
        values |= {"g": adversarial, "damsm": damsm, "kl": kl}
        if self._update(self.generator_optimizer, total, nets.generator):
            nets.average.update(nets.generator)
        else:
            values |= self._skipped("generator")
        self.scaler.update() if self.scaler.is_enabled() else None
        return values

    def _update(self, optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module) -> bool:
        """One optimiser step, unless the loss or a gradient is not finite. Whether it was taken."""
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.scaler.is_enabled():
            self.scaler.unscale_(optimizer)
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        norms = torch._foreach_norm(gradients)
        finite = all_true(
            self.world, torch.isfinite(loss.detach()) & torch.isfinite(torch.stack(norms).sum())
        )
        if finite:
            self.scaler.step(optimizer)
        return finite

    def _skipped(self, which: str) -> dict[str, Tensor]:
        """What the guards count where losses may be finite and a gradient is not."""
        return {f"gradient of the {which}": torch.full((), torch.nan, device=self.device)}


def _r1(logits: Tensor, images: Tensor) -> Tensor:
    """R1 (Mescheder et al., 2018): the squared gradient of the real images' logits, half its batch mean."""
    (gradient,) = torch.autograd.grad(logits.float().sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2
