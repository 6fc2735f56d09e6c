"""A case of memory_write for the driver: arguments, the gradient of the memory, and what they came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from memgan.backends import reference
from tests.backends.native.emulator.driver import DTYPES

NAMES = (
    *("words", "image_summary", "word_weight", "word_bias", "image_weight", "image_bias"),
    *("gate_word", "gate_image"),
)


@dataclass
class WriteCase:
    """One forward and one backward."""

    inputs: tuple[Tensor, ...]  # contiguous, as NAMES says
    seed: int = 0

    def __post_init__(self) -> None:
        made = torch.Generator().manual_seed(self.seed + 100)
        words, weight = self.inputs[0], self.inputs[2]
        grad = torch.randn(*words.shape[:2], weight.shape[0], generator=made, dtype=torch.float64)
        self.grad = grad.to(words.dtype)

    @property
    def results(self) -> dict[str, Tensor]:
        """Places for the results."""
        of_inputs = {
            f"grad_{name}": tensor.new_empty(tensor.shape) for name, tensor in zip(NAMES, self.inputs)
        }
        return {"memory": torch.empty_like(self.grad)} | of_inputs

    def defined(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """What the definition makes of the same numbers, in their own dtype or in another."""
        tensors = [t.detach().to(dtype or t.dtype).requires_grad_() for t in self.inputs]
        memory = reference.memory_write(*tensors)
        grads = torch.autograd.grad(memory, tensors, self.grad.to(memory.dtype))
        return dict(zip(self.results, (memory.detach(), *grads)))

    def write(self, folder: Path) -> None:
        """The case, for the driver."""
        folder.mkdir()
        words, summary, weight = self.inputs[:3]
        sizes = dict(zip("BLE", words.shape)) | {"C": summary.shape[1], "M": weight.shape[0]}
        numbers = {"dtype": DTYPES.index(words.dtype), "seed": self.seed} | sizes
        lines = [f"number {name} {value}" for name, value in numbers.items()]
        for name, tensor in (*zip(NAMES, self.inputs), ("grad", self.grad)):
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
