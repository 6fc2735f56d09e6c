"""One adversarial update as it is usually written, for the plain generator of :mod:`benchmarks.model.plain`.

Real, fake and wrongly paired images pass through a discriminator one after the other, each discriminator has its own
loss, backward pass and Adam, the generator's backward pass also computes the discriminators' gradients, and the image
encoder normalises by BatchNorm layer by layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.model import plain
from reference_models.dmgan.config import Config
from reference_models.dmgan.data.batch import Batch
from reference_models.dmgan.discriminator import SLOPE, Discriminator
from reference_models.dmgan.training.step import Networks


def cross_entropy(logits: Tensor, target: float) -> Tensor:
    """Sigmoid, then binary cross entropy."""
    return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))


def conditional_logits(network: Discriminator, features: Tensor, sentence: Tensor) -> Tensor:
    """(B, F, 4, 4) and (B, E) → (B,): the sentence is tiled over the pixels and concatenated."""
    tiled = sentence[:, :, None, None].repeat(1, 1, *features.shape[2:])
    joint = F.leaky_relu(network.joint(torch.cat([features, tiled], 1)), SLOPE)
    return network.conditional(joint).flatten()


def discriminator_loss(network: Discriminator, real: Tensor, fake: Tensor, sentence: Tensor) -> Tensor:
    """Wrong pairs are image i with sentence i + 1."""
    real_features, fake_features = network.features(real), network.features(fake)
    conditional_real = cross_entropy(conditional_logits(network, real_features, sentence), 1.0)
    wrong = cross_entropy(conditional_logits(network, real_features[:-1], sentence[1:]), 0.0)
    conditional_fake = cross_entropy(conditional_logits(network, fake_features, sentence), 0.0)
    unconditional_real = cross_entropy(network.unconditional_logits(real_features), 1.0)
    unconditional_fake = cross_entropy(network.unconditional_logits(fake_features), 0.0)
    positive = (unconditional_real + conditional_real) / 2
    return positive + (unconditional_fake + conditional_fake + wrong) / 3


class PlainStep:
    """The same update as the trainer's ``AdversarialStep``; ``gradients`` are kept until the next one."""

    def __init__(self, networks: Networks, config: Config) -> None:
        train = config.train
        self.networks, self.config = networks, config

        def adam(module: nn.Module, rate: float) -> torch.optim.Adam:
            return torch.optim.Adam(module.parameters(), lr=rate, betas=train.betas, foreach=False)

        self.generator_optimizer = adam(networks.generator, train.generator_learning_rate)
        self.optimizers = [adam(one, train.discriminator_learning_rate) for one in networks.discriminators]

    def __call__(self, batch: Batch, noise: Tensor, condition_noise: Tensor) -> dict[str, Tensor]:
        """Losses of the step, by name."""
        nets = self.networks
        with torch.no_grad():
            words, sentence = nets.encoders.text(batch.captions, batch.lengths)
        mask = batch.word_mask[:, : words.shape[1]]
        output = plain.generate(nets.generator, noise, sentence, words, mask, condition_noise=condition_noise)
        losses = {}
        for network, optimizer, real, fake in zip(
            nets.discriminators, self.optimizers, batch.images, output.images
        ):
            network.zero_grad()
            loss = discriminator_loss(network, real, fake.detach(), sentence)
            loss.backward()
            optimizer.step()
            losses[f"d{network.size}"] = loss.detach()
        losses |= self._generator_step(batch, output, words, sentence, mask)
        return losses

    def _generator_step(
        self, batch: Batch, output: plain.GeneratorOutput, words: Tensor, sentence: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        nets, weights = self.networks, self.config.loss
        nets.generator.zero_grad()
        adversarial = torch.zeros((), device=sentence.device)
        for network, fake in zip(nets.discriminators, output.images):
            features = network.features(fake)
            adversarial = adversarial + cross_entropy(conditional_logits(network, features, sentence), 1.0)
            adversarial = adversarial + cross_entropy(network.unconditional_logits(features), 1.0)
        regions, code = nets.encoders.image(output.images[-1])
        gammas = (weights.gamma1, weights.gamma2, weights.gamma3)
        by_words = plain.words_loss(regions, words, mask, batch.class_ids, gammas)
        by_sentence = plain.sentence_loss(code, sentence, batch.class_ids, weights.gamma3)
        damsm = sum([*by_words, *by_sentence], torch.zeros(()))
        mu, logvar = output.mu, output.logvar
        kl = (-0.5) * (1 + logvar - mu.pow(2) - logvar.exp()).mean()
        (adversarial + weights.damsm * damsm + weights.kl * kl).backward()
        self.generator_optimizer.step()
        with torch.no_grad():
            average = nets.average
            average.step += 1
            decay = min(average.decay, (1 + average.step) / (10 + average.step))
            for mean, current in zip(average.module.parameters(), nets.generator.parameters()):
                mean.mul_(decay).add_(current, alpha=1 - decay)
            for mean, current in zip(average.module.buffers(), nets.generator.buffers()):
                mean.copy_(current)
        return {"g": adversarial.detach(), "damsm": damsm.detach(), "kl": kl.detach()}
