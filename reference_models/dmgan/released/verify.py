"""Stored outputs of the released code against this importer and these networks.

The stored files hold inputs and outputs; the weights are :func:`~.vectors.deterministic` functions of their
released keys, so each check goes the way a user's checkpoint goes: a released-layout state dict, the loader,
the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reference_models.dmgan.config import DiscriminatorConfig, GeneratorConfig, LossConfig, TextConfig
from reference_models.dmgan.discriminator import Discriminator
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.image_encoder import InceptionImageEncoder
from reference_models.dmgan.losses import (
    DiscriminatorLogits,
    damsm_loss,
    discriminator_loss,
    kl_loss,
    sentence_loss,
    words_loss,
)
from reference_models.dmgan.released import discriminators, encoders, generators
from reference_models.dmgan.released.vectors import deterministic_state
from reference_models.dmgan.text_encoder import TextEncoder, word_mask
from reference_models.dmgan.training.weights import read_into, write_tensors

VECTORS = Path(__file__).parents[3] / "tests" / "vectors"  # of this checkout

TOLERANCE = 2e-5  # of the largest entry, in float32
LOOSE = 2e-4  # discriminators and the image encoder: deep chains of float32 convolutions

Arrays = Mapping[str, Tensor]
Quantity = tuple[str, Tensor, Tensor, float]  # name, ours, the release's, tolerance
Loader = Callable[..., nn.Module]
Load = Callable[..., nn.Module]  # (loader, released state dict, **options) -> the network that is checked


def directly(loader: Loader, state: dict[str, Tensor], **options: str) -> nn.Module:
    """The network as the loader makes it from a state dict."""
    return loader(state, **options)


class ThroughFiles:
    """The network as a user gets it: checkpoint file → loader → safetensors → a network of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, loader: Loader, state: dict[str, Tensor], **options: str) -> nn.Module:
        checkpoint, stored = self.folder / "released.pth", self.folder / "stored.safetensors"
        torch.save(state, checkpoint)
        network = loader(checkpoint, **options)
        write_tensors(stored, network.state_dict())
        with torch.no_grad():
            for value in network.state_dict().values():
                value.zero_()
        return read_into(network, stored)


@dataclass(frozen=True)
class Check:
    """One quantity of one network against the release."""

    name: str  # file and quantity
    error: float  # largest difference over the largest entry
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within tolerance (a NaN is not)."""
        return self.error <= self.tolerance


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected entry; infinite for another shape."""
    if value.shape != expected.shape:
        return float("inf")
    value, expected = value.detach().double(), expected.double()
    return ((value - expected).abs().max() / expected.abs().max().clamp(min=1e-30)).item()


def released_state(network: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """A released-layout state dict of ``network``'s sizes with deterministic weights."""
    ours = network.state_dict()
    return deterministic_state({theirs: tuple(ours[mine].shape) for theirs, mine in names.items()})


def refinement_stage(data: Arrays, load: Load = directly) -> Iterator[Quantity]:
    """The second-stage block: images alone, gradients, train mode, and the release's mask rows in a batch."""
    config = GeneratorConfig(
        channels=int(data["ngf"]), word_dim=int(data["nef"]), residual_blocks=int(data["residual_blocks"])
    )
    names = generators.stage_names(config.residual_blocks)
    with torch.device("meta"):
        state = released_state(generators.build_stage(config), names)
    stage = load(generators.load_refinement_stage, state)
    features = data["image_features"].clone().requires_grad_()
    words = data["words"].transpose(1, 2).clone().requires_grad_()
    mask = word_mask(data["lengths"], words.shape[1])
    outs, maps = [], []
    for i in range(len(features)):
        row = slice(i, i + 1)
        out, attention = stage(features[row], words[row], mask[row], return_attention=True)
        outs.append(out)
        maps.append(attention)
    out = torch.cat(outs)
    (out * data["grad_out"]).sum().backward()
    yield "out", out, data["out"], TOLERANCE
    yield "attention", torch.cat(maps), data["attention"], TOLERANCE
    yield "grad_image_features", features.grad, data["grad_image_features"], TOLERANCE
    yield "grad_words", words.grad.transpose(1, 2), data["grad_words"], TOLERANCE
    parameters = dict(stage.named_parameters())
    for key in data:
        if key.startswith("grad/"):
            gradient = parameters[names[key.removeprefix("grad/")]].grad
            yield key, gradient.reshape(data[key].shape), data[key], TOLERANCE

    batched = load(generators.load_refinement_stage, state, mask_mode="release")
    with torch.no_grad():
        out, attention = batched(features, words, mask, return_attention=True)
        yield "out_official_batched", out, data["out_official_batched"], TOLERANCE
        yield "attention_official_batched", attention, data["attention_official_batched"], TOLERANCE
        out, _ = load(generators.load_refinement_stage, state).train()(features, words)
        yield "out_train_mode_no_padding", out, data["out_train_mode_no_padding"], TOLERANCE


def generator(data: Arrays, load: Load = directly) -> Iterator[Quantity]:
    """The whole generator in eval mode, images one at a time."""
    config = GeneratorConfig(
        channels=int(data["gf"]),
        noise_dim=int(data["z_dim"]),
        condition_dim=int(data["condition_dim"]),
        word_dim=int(data["embedding_dim"]),
        residual_blocks=int(data["residual_blocks"]),
    )
    with torch.device("meta"):
        state = released_state(Generator(config), generators.generator_names(config))
    network = load(generators.load_generator, state)
    words = data["words"].transpose(1, 2)
    mask = word_mask(data["lengths"], words.shape[1])
    with torch.no_grad():
        for i in range(len(words)):
            row = slice(i, i + 1)
            out = network(
                data["z"][row],
                data["sentence"][row],
                words[row],
                mask[row],
                condition_noise=data["eps"][row],
                return_attention=True,
            )
            yield f"mu[{i}]", out.mu, data["mu"][row], TOLERANCE
            yield f"logvar[{i}]", out.logvar, data["logvar"][row], TOLERANCE
            for stage, image in enumerate(out.images):
                expected = data[f"image{stage}_stride4"][row]
                yield f"image{stage}[{i}]", image[..., ::4, ::4], expected, TOLERANCE
            for stage, attention in enumerate(out.attention or []):
                expected = data[f"attention{stage}_stride4"][row]
                yield f"attention{stage}[{i}]", attention[..., ::4, ::4], expected, TOLERANCE


@torch.no_grad()
def discriminator(data: Arrays, load: Load = directly) -> Iterator[Quantity]:
    """All three sizes: features, both heads, the spectral norm's u, and the loss."""
    config = DiscriminatorConfig(width=int(data["df"]), word_dim=int(data["embedding_dim"]))
    sentence = data["sentence"]
    for size in (64, 128, 256):
        with torch.device("meta"):
            state = released_state(Discriminator(size, config), discriminators.names(size))
        network = load(discriminators.load_discriminator, state)
        real, fake = data[f"x{size}"].float(), data[f"fake{size}"].float()
        features = network.features(real)
        conditional, unconditional = network.heads(features, sentence)
        yield f"features{size}", features, data[f"features{size}"], LOOSE
        yield f"cond_prob{size}", conditional.sigmoid(), data[f"cond_prob{size}"], LOOSE
        yield f"uncond_prob{size}", unconditional.sigmoid(), data[f"uncond_prob{size}"], LOOSE
        yield f"u_after{size}", network.convolutions[0].weight_u, data[f"u_after{size}"], LOOSE

        # The release's order of passes: each moves the spectral norm's estimate.
        network = load(discriminators.load_discriminator, state)
        features, fakes = network.features(real), network.features(fake)
        conditional_real = network.conditional_logits(features, sentence)
        conditional_fake = network.conditional_logits(fakes, sentence)
        logits = DiscriminatorLogits(
            real=network.unconditional_logits(features),
            fake=network.unconditional_logits(fakes),
            conditional_real=conditional_real,
            conditional_fake=conditional_fake,
            conditional_wrong=network.conditional_logits(features[:-1], sentence[1:]),
        )
        yield f"d_loss{size}", discriminator_loss(logits), data[f"d_loss{size}"], LOOSE


@torch.no_grad()
def text_encoder(data: Arrays, load: Load = directly) -> Iterator[Quantity]:
    """Words and sentence, and the same with the captions in another order."""
    config = TextConfig(word_dim=int(data["hidden"]), embedding_dim=int(data["embed"]))
    with torch.device("meta"):
        state = released_state(TextEncoder(int(data["vocab"]), config), encoders.text_names())
    network = load(encoders.load_text_encoder, state)
    for name, order in (("", torch.arange(4)), (" reversed", torch.arange(3, -1, -1))):
        words, sentence = network(data["captions"][order], data["lengths"][order])
        yield "words" + name, words.transpose(1, 2), data["words"][order], TOLERANCE
        yield "sentence" + name, sentence, data["sentence"][order], TOLERANCE


@torch.no_grad()
def image_encoder(data: Arrays, load: Load = directly) -> Iterator[Quantity]:
    """Regions at every fourth place, and the image code."""
    with torch.device("meta"):
        network = InceptionImageEncoder(int(data["nef"]))
        state = released_state(network, encoders.image_names(network))
    regions, code = load(encoders.load_image_encoder, state)(data["x"].float())
    yield "features", regions[..., ::4, ::4], data["features_stride4"], LOOSE
    yield "image_code", code, data["image_code"], LOOSE


def damsm_losses(data: Arrays, _load: Load = directly) -> Iterator[Quantity]:
    """All four DAMSM losses and their gradients, with and without class ids; KL."""
    gammas = {name: float(data[name]) for name in ("gamma1", "gamma2", "gamma3")}
    mask = word_mask(data["lengths"], data["words"].shape[2])
    for suffix, classes in (("", data["class_ids"]), ("_no_class", None)):
        leaves = {
            name: data[name].clone().requires_grad_()
            for name in ("regions", "words", "image_code", "sentence")
        }
        regions, words, code, sentence = leaves.values()
        w0, w1 = words_loss(regions, words.transpose(1, 2), mask, classes, **gammas)
        s0, s1 = sentence_loss(code, sentence, classes, gamma3=gammas["gamma3"])
        for name, value in (("w0", w0), ("w1", w1), ("s0", s0), ("s1", s1)):
            yield name + suffix, value, data[name + suffix], TOLERANCE
        terms = damsm_loss(
            regions, code, words.transpose(1, 2), sentence, mask, classes, config=LossConfig(**gammas)
        )
        terms.total.backward()
        for name, leaf in leaves.items():
            yield f"grad_{name}{suffix}", leaf.grad, data[f"grad_{name}{suffix}"], TOLERANCE
    yield "kl", kl_loss(data["mu"], data["logvar"]), data["kl"], TOLERANCE


FILES: dict[str, Callable[[Arrays, Load], Iterator[Quantity]]] = {
    "damsm_losses": damsm_losses,
    "discriminators": discriminator,
    "generator": generator,
    "image_encoder": image_encoder,
    "refinement_stage": refinement_stage,
    "text_encoder": text_encoder,
}


def verify(
    folder: str | Path = VECTORS, files: Sequence[str] = tuple(FILES), *, load: Load = directly
) -> list[Check]:
    """Check every quantity of ``files`` (names without ``.npz``) stored in ``folder``.

    ``load`` is how a released state dict becomes the network that is checked.
    """
    checks = []
    for file in files:
        path = Path(folder) / f"{file}.npz"
        if not path.is_file():
            raise FileNotFoundError(f"no stored vectors at {path}")
        with np.load(path, allow_pickle=False) as stored:
            data = {key: torch.from_numpy(np.asarray(stored[key])) for key in stored.files}
        checks += [
            Check(f"{file}: {name}", relative_error(value, expected), tolerance)
            for name, value, expected, tolerance in FILES[file](data, load)
        ]
    return checks
