"""What is measured: sizes, ways to compute, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

import memgan
from benchmarks.memory import attention_and_gate, released_formulation
from memgan.backends import reference

Refine = Callable[..., Tensor]
MODES = ("forward", "backward", "forward+backward", "double backward")
OURS = "memgan native"


@dataclass(frozen=True)
class Case:
    """B images of C channels and S * S pixels, L words of which a third at least are real."""

    name: str
    images: int = 10
    channels: int = 64
    words: int = 18
    size: int = 64
    dtype: Literal["float32", "tf32", "bfloat16", "float16"] = (
        "float32"  # tf32: float32, its products less exact
    )
    device: str = "cpu"

    @property
    def stored(self) -> torch.dtype:
        """The dtype of the tensors."""
        return torch.float32 if self.dtype == "tf32" else getattr(torch, self.dtype)

    def inputs(self) -> Inputs:
        """The same numbers in every process."""
        made = torch.Generator().manual_seed(0)
        B, C, L, S = self.images, self.channels, self.words, self.size
        lengths = torch.randint(max(1, L // 3), L + 1, (B,), generator=made)
        features = torch.randn(B, C, S, S, generator=made)
        keys = torch.randn(B, L, C, generator=made) * C**-0.5
        values = torch.randn(B, L, C, generator=made)
        weight, bias = torch.randn(1, 2 * C, generator=made) * C**-0.5, torch.randn(1, generator=made)
        mask = torch.arange(L) < lengths[:, None]
        grad = torch.randn(B, C, S, S, generator=made)
        floating = (x.to(self.device, self.stored) for x in (features, keys, values, weight, bias, grad))
        features, keys, values, weight, bias, grad = floating
        return Inputs(features, keys, values, mask.to(self.device), weight, bias, grad)

    def bytes(self, mode: str) -> int:
        """What must be moved at least: r in, result out; backward r and its gradient in, one gradient out."""
        passes = {"forward": 2, "backward": 3, "forward+backward": 5}.get(mode, 0)
        return passes * self.images * self.channels * self.size**2 * self.stored.itemsize

    def flop(self, mode: str, inputs: Inputs) -> int:
        """Arithmetic on real words only. Forward: scores, read, gate. Backward: five products and the gate's."""
        words, images = int(inputs.mask.sum()), self.images
        a_pixel = self.channels * self.size**2
        forward, backward = (4 * words + 4 * images) * a_pixel, (10 * words + 8 * images) * a_pixel
        return {"forward": forward, "backward": backward, "forward+backward": forward + backward}.get(mode, 0)

    @property
    def modes(self) -> tuple[str, ...]:
        """What is measured of it. A GPU is there for minutes: the double backward, which is torch's ops, once."""
        once = self.device == "cpu" or (self.dtype, self.size, self.words) == ("float32", 64, 18)
        return MODES if once else MODES[:-1]

    @property
    def compiles(self) -> bool:
        """Whether torch.compile is among the providers: on a GPU, where its kernels could be on tensor cores."""
        return self.device == "cpu" or (self.dtype != "float32" and self.words <= 18)

    def sizes(self) -> dict[str, int | str]:
        return asdict(self)


@dataclass(frozen=True)
class Inputs:
    """Arguments of ``memory_refine``, and a gradient for its result."""

    features: Tensor
    keys: Tensor
    values: Tensor
    mask: Tensor
    weight: Tensor
    bias: Tensor
    grad: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """Those that have gradients, as leaves of their own."""
        of = (self.features, self.keys, self.values, self.weight, self.bias)
        return tuple(tensor.detach().requires_grad_() for tensor in of)

    def arguments(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        features, keys, values, *gate = tensors
        return (features, keys, values, self.mask, *gate)

    def copy(self) -> Inputs:
        return Inputs(*(getattr(self, name).clone() for name in self.__dataclass_fields__))

    def double(self) -> Inputs:
        parts = (getattr(self, name) for name in self.__dataclass_fields__)
        return Inputs(*(part if part.dtype == torch.bool else part.double() for part in parts))


CASES = (
    Case("64*64"),
    Case("128*128", size=128),
    Case("CLIP-like 64*64", channels=128, words=77),
)
ON_CUDA = tuple(
    Case(name, images, channels, words, size, dtype, "cuda")
    for name, images, channels, words, size in (
        ("64*64", 64, 64, 18, 64),
        ("128*128", 64, 64, 18, 128),
        ("CLIP-like 64*64", 64, 128, 77, 64),
    )
    for dtype in ("bfloat16", "tf32", "float32")
)
QUICK = (Case("quick 16*16", images=2, channels=16, words=5, size=16),)


def definition(*arguments: Tensor) -> Tensor:
    """The library's own definition in plain PyTorch."""
    return reference.memory_refine(*arguments)[0]


def native(*arguments: Tensor) -> Tensor:
    """The public function, on the fused kernel or not at all."""
    with memgan.use_backend("native"):
        return memgan.memory_refine(*arguments)[0]


def providers(*, compiled: bool = True) -> dict[str, Refine]:
    """Ways to compute the same thing; the compiled one is fresh, for one case."""
    found: dict[str, Refine] = {OURS: native, "definition, eager": definition}
    if compiled:
        torch._dynamo.reset()
        torch._functorch.config.donated_buffer = False  # or a backward could not be timed again and again
        found["definition, torch.compile"] = torch.compile(definition, dynamic=False)
    found["released formulation"] = released_formulation.refine
    found["SDPA + gate"] = attention_and_gate.refine
    return found


NO_DOUBLE_BACKWARD = {
    "definition, torch.compile": "torch.compile has no double backward",
    "SDPA + gate": "scaled_dot_product_attention has no double backward",
}
