"""Cases of memory_write and memory_project for the driver: arguments, gradients of the results, what they came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from memgan.backends import reference
from tests.backends.native.emulator.driver import DTYPES


@dataclass
class PlainCase:
    """One forward and one backward of an op whose tensors are all contiguous."""

    op: str
    inputs: dict[str, Tensor]  # that have gradients
    sizes: dict[str, int]  # by the names that the driver knows
    outputs: tuple[str, ...]
    seed: int = 0
    mask: Tensor | None = None
    grads: dict[str, Tensor] = field(default_factory=dict)  # of the outputs

    def __post_init__(self) -> None:
        made = torch.Generator().manual_seed(self.seed + 100)
        for name, result in zip(self.outputs, self._results([*self.inputs.values()])):
            grad = torch.randn(result.shape, generator=made, dtype=torch.float64)
            self.grads[f"grad_{name}"] = grad.to(result.dtype)

    def _results(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        given = tensors if self.op != "memory_write" else [*tensors, self.mask]
        result = getattr(reference, self.op)(*given)
        return result if isinstance(result, tuple) else (result,)

    @property
    def results(self) -> dict[str, Tensor]:
        """Places for the results."""
        of_inputs = {f"grad_{name}": tensor.new_empty(tensor.shape) for name, tensor in self.inputs.items()}
        return {name: torch.empty_like(self.grads[f"grad_{name}"]) for name in self.outputs} | of_inputs

    def defined(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """What the definition makes of the same numbers, in their own dtype or in another."""
        tensors = [t.detach().to(dtype or t.dtype).requires_grad_() for t in self.inputs.values()]
        results = self._results(tensors)
        grads = torch.autograd.grad(results, tensors, [g.to(results[0].dtype) for g in self.grads.values()])
        return dict(zip(self.results, (*(result.detach() for result in results), *grads)))

    def write(self, folder: Path) -> None:
        """The case, for the driver."""
        folder.mkdir()
        first = next(iter(self.inputs.values()))
        numbers = {"dtype": DTYPES.index(first.dtype), "seed": self.seed} | self.sizes
        lines = [f"number {name} {value}" for name, value in numbers.items()]
        masks = {} if self.mask is None else {"mask": self.mask}
        for name, tensor in (self.inputs | self.grads | masks).items():
            data = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            (folder / f"{name}.bin").write_bytes(data)
            lines.append(f"input {name} {len(data)} 0 0 0 0")
        for name, tensor in self.results.items():
            lines.append(f"output {name} {tensor.numel() * tensor.element_size()} 0 0 0 0")
        (folder / "case.txt").write_text("\n".join(lines) + "\n")

    def read(self, folder: Path) -> dict[str, Tensor]:
        """What the driver wrote."""
        found = self.results
        for name, tensor in found.items():
            told = bytearray((folder / f"{name}.bin").read_bytes())
            if told:
                found[name] = torch.frombuffer(told, dtype=tensor.dtype).view(tensor.shape)
        return found


def write_case(inputs: tuple[Tensor, ...], seed: int = 0, mask: Tensor | None = None) -> PlainCase:
    """Of memory_write, with arguments in order."""
    words, summary, weight = inputs[:3]
    names = ("words", "image_summary", "word_weight", "word_bias", "image_weight", "image_bias")
    sizes = dict(zip("BLE", words.shape)) | {"C": summary.shape[1], "M": weight.shape[0]}
    of_gate = ("gate_word", "gate_image")
    return PlainCase("memory_write", dict(zip((*names, *of_gate), inputs)), sizes, ("memory",), seed, mask)


def project_case(inputs: tuple[Tensor, ...], seed: int = 0) -> PlainCase:
    """Of memory_project, with arguments in order."""
    memory, key_weight, _, value_weight, _ = inputs
    names = ("memory", "key_weight", "key_bias", "value_weight", "value_bias")
    sizes = {"R": memory.shape[0] * memory.shape[1], "M": memory.shape[2]}
    sizes |= {"key_channels": key_weight.shape[0], "value_channels": value_weight.shape[0]}
    return PlainCase("memory_project", dict(zip(names, inputs)), sizes, ("keys", "values"), seed)
