"""The ways to compute each task: the plain form, ours, and what lies between."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import memgan
from benchmarks.model import cases, plain
from benchmarks.model.plain_step import PlainStep
from reference_models.dmgan.config import Config
from reference_models.dmgan.sampling import drawing_in, fastest
from reference_models.dmgan.training.step import AdversarialStep, Networks

Work = Callable[[], object]


@dataclass(frozen=True)
class Form:
    """A way to compute; the defaults are what ``sample`` and ``train`` do."""

    name: str
    plain: bool = False
    definition: bool = False  # memgan's definitions instead of kernels and short forms
    channels_last: bool = True
    folded: bool = True  # BatchNorm of frozen networks
    keeps_memory: bool = True
    precision: str = "float32"
    compiled: bool = False
    recomputed: bool = False  # refinements, in the backward pass

    @property
    def backend(self) -> str:
        """For ``memgan.use_backend``."""
        return "reference" if self.definition else "auto"


PLAIN = Form("plain", plain=True, keeps_memory=False)
FAST = Form("fast, float32")
HALF = Form("fast, bfloat16", precision="bfloat16")
FORMS = {"sampling": (PLAIN, FAST, HALF), "training step": (PLAIN, FAST, HALF), "words loss": (PLAIN, FAST)}
COMPILED = (replace(FAST, name="fast, float32, compiled", compiled=True),
            replace(HALF, name="fast, bfloat16, compiled", compiled=True))  # fmt: skip

_OURS = Form("one pass each", definition=True, channels_last=False, folded=False, keeps_memory=False)
_STEPS = (
    PLAIN,
    _OURS,
    replace(_OURS, name="+ short up-sampling, memory kernels", definition=False),
    replace(_OURS, name="+ channels_last", definition=False, channels_last=True),
    replace(FAST, name="+ BatchNorm folded", keeps_memory=False),
    replace(FAST, name="+ freed memory kept"),
    replace(HALF, name="+ bfloat16"),
)
# Each adds one thing to the form before it.
LADDER = {
    "sampling": _STEPS,
    "training step": (*_STEPS, replace(HALF, name="+ refinements recomputed", recomputed=True)),
}
BATCHES = {"cpu": {"sampling": (10,), "training step": (4,), "words loss": (48,)},
           "cuda": {"sampling": (10, 32, 128), "training step": (10, 32, 128), "words loss": (48,)}}  # fmt: skip


def build(task: str, form: Form, config: Config, batch: int, device: torch.device) -> Work:
    """Work that runs ``task`` once in ``form``; the same numbers in every process."""
    make = {"sampling": sampling, "training step": training, "words loss": words_loss}[task]
    config = replace(config, train=replace(config.train, precision=form.precision))
    return make(form, config, batch, device)


def sampling(form: Form, config: Config, batch: int, device: torch.device) -> Callable[[], list[Tensor]]:
    """Draws a batch: the images of all sizes."""
    network = cases.settled(cases.generator(config, device), config, device)
    inputs = cases.generator_inputs(config, batch, device).keywords()
    if form.plain:

        @torch.no_grad()
        def drawn() -> list[Tensor]:
            return plain.generate(network, **inputs).images

        return drawn
    if form.folded:
        network = fastest(network)
    if form.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if form.compiled:
        network.compile()

    @torch.inference_mode()
    def fast() -> list[Tensor]:
        with memgan.use_backend(form.backend), drawing_in(form.precision, device):  # type: ignore[arg-type]
            return network(**inputs).images

    return fast


def training_step(
    form: Form, config: Config, nets: Networks, device: torch.device
) -> PlainStep | AdversarialStep:
    """The object that updates ``nets``, which it may replace by a laid out copy."""
    if form.plain:
        return PlainStep(nets, config)
    if form.channels_last:
        nets = cases.in_layout(nets)
    if form.folded:
        nets.encoders = dataclasses.replace(nets.encoders, image=memgan.fold_batchnorm(nets.encoders.image))
    nets.generator.checkpoint_activations = form.recomputed  # type: ignore[assignment]
    if form.compiled:
        for network in (nets.generator, *nets.discriminators):
            network.compile()
    return AdversarialStep(nets, config, device)


def training(form: Form, config: Config, batch: int, device: torch.device) -> Work:
    """One update of all networks."""
    step = training_step(form, config, cases.networks(config, device), device)
    given = cases.training_batch(config, batch, device)
    inputs = cases.generator_inputs(config, batch, device)

    def update() -> object:
        with nullcontext() if form.plain else memgan.use_backend(form.backend):  # type: ignore[arg-type]
            return step(given, inputs.noise, inputs.condition_noise)

    return update


def words_loss(
    form: Form, config: Config, batch: int, device: torch.device
) -> Callable[[], tuple[Tensor, ...]]:
    """DAMSM's words loss forward and backward: both losses and the regions' and words' gradients."""
    side = 17 if config.image_encoder.kind == "inception" else config.image_encoder.image_size // 8
    inputs = cases.generator_inputs(config, batch, device)
    made = torch.Generator().manual_seed(1)
    regions = torch.randn(batch, config.text.word_dim, side, side, generator=made).to(device)
    leaves = (nn.Parameter(0.3 * regions), nn.Parameter(inputs.words))
    loss = plain.words_loss if form.plain else memgan.words_loss

    def both() -> tuple[Tensor, ...]:
        losses = loss(*leaves, inputs.word_mask, None)
        return *(one.detach() for one in losses), *torch.autograd.grad(sum(losses), leaves)

    return both
