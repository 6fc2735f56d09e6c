"""Before anything is timed: the fast forms compute what the plain form does."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.model import cases, forms
from reference_models.dmgan.config import Config
from reference_models.dmgan.training.step import AdversarialStep

TOLERANCE = 1e-4  # of float32: images, absolute; gradients and losses, relative
# A gradient that cancels (of a bias that a BatchNorm behind it takes away again; of the keys' bias, which moves all
# words' scores alike) has few digits or none: it may be so many times as far from the plain form's as that is from
# float64's.
ALLOWANCE = 10
GATED = {"sampling": 2, "training step": 4, "words loss": 6}  # images of a batch: few, to be quick


def differences(task: str, config: Config, device: torch.device) -> dict[str, float]:
    """Form → how far it is from the plain one.

    Sampling: the largest difference of a pixel in [-1, 1]. Otherwise relative, by norms, the worst tensor.

    Raises:
        SystemExit: a float32 form differs by more than :data:`TOLERANCE`.
    """
    measure = {"sampling": _images, "training step": _gradients, "words loss": _losses}[task]
    with torch.backends.cudnn.flags(allow_tf32=False):  # a GPU's convolutions would round to 11 bits
        found = measure(config, GATED[task], device)
    wrong = {name: worst for name, worst in found.items() if "float32" in name and not worst < TOLERANCE}
    if wrong:
        raise SystemExit(f"{task}: differs from the plain form, nothing is timed: {wrong}")
    return found


def _images(config: Config, batch: int, device: torch.device) -> dict[str, float]:
    plain, *others = (forms.sampling(form, config, batch, device)() for form in forms.FORMS["sampling"])
    names = [form.name for form in forms.FORMS["sampling"][1:]]
    return {
        name: max(float((a - b.float()).abs().max()) for a, b in zip(plain, images))
        for name, images in zip(names, others)
    }


def _losses(config: Config, batch: int, device: torch.device) -> dict[str, float]:
    plain, fast = (forms.words_loss(form, config, batch, device)() for form in forms.FORMS["words loss"])
    return {forms.FAST.name: worst_of(zip(fast, plain))}


def _gradients(config: Config, batch: int, device: torch.device) -> dict[str, float]:
    with smooth():
        plain, fast = (first_gradients(form, config, batch, device) for form in (forms.PLAIN, forms.FAST))
        exact = first_gradients(forms.PLAIN, config, batch, device, torch.float64)
    assert plain.keys() == fast.keys() == exact.keys()
    worst = 0.0
    for name, one in plain.items():
        rounding = float((one - exact[name]).norm())
        digits = max(float(one.norm()), ALLOWANCE * rounding / TOLERANCE)
        worst = max(worst, float((fast[name] - one).norm()) / max(digits, 1e-30))
    return {forms.FAST.name: worst}


@contextmanager
def smooth() -> Iterator[None]:
    """Without kinks: leaky and plain ReLUs are SiLUs, maxima in pools are means.

    The gradient of a ReLU network jumps wherever a unit changes sides. Of the paper's 10^8 units some always lie
    within a rounding error of zero, so that two orders of the same float32 sums already give gradients that differ
    by a part in a hundred. Smoothed, what differs is what is computed.
    """
    kept = F.leaky_relu, F.relu, F.max_pool2d
    F.leaky_relu = lambda x, *_: F.silu(x)
    F.relu = F.silu
    F.max_pool2d = F.avg_pool2d
    try:
        yield
    finally:
        F.leaky_relu, F.relu, F.max_pool2d = kept


def worst_of(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The largest distance of the first from the second, relative to the second's norm."""
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def first_gradients(
    form: forms.Form, config: Config, batch: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Name → gradient of every parameter in the first training step, as its optimiser sees it."""
    nets = cases.in_dtype(cases.networks(config, device), dtype)
    step = forms.training_step(form, config, copy.deepcopy(nets), device)
    gradients: dict[str, Tensor] = {}
    names = {}
    for part in ("generator", "discriminators"):
        for name, parameter in getattr(step.networks, part).named_parameters():
            names[parameter] = f"{part}.{name}"

    def keep(optimizer: torch.optim.Optimizer, *_: object) -> None:
        for group in optimizer.param_groups:
            gradients.update({names[p]: p.grad.detach().clone() for p in group["params"]})

    optimizers = (
        (step.generator_optimizer, step.discriminator_optimizer)
        if isinstance(step, AdversarialStep)
        else (step.generator_optimizer, *step.optimizers)
    )
    for optimizer in optimizers:
        optimizer.register_step_pre_hook(keep)
    inputs = cases.generator_inputs(config, batch, device)
    given = cases.training_batch(config, batch, device)
    given = dataclasses.replace(given, images=tuple(image.to(dtype) for image in given.images))
    step(given, inputs.noise.to(dtype), inputs.condition_noise.to(dtype))
    return gradients
