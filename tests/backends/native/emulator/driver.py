"""Builds the program that runs the CUDA kernels emulated, and gives it cases."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from memgan.backends.native import build, registration, toolkit
from tests.backends.native.inputs import Inputs

HERE = Path(__file__).parent
CUDA = build.CSRC / "cuda"
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)  # as device.h's Dtype counts


def compiled(folder: Path, *flags: str, kernels: Path = CUDA) -> Path:
    """The program, in ``folder``; ``flags`` go to the kernels and the link, not to the scheduler.

    Nothing of it is optimized: compiling takes longer than all that is run.
    """
    program = folder / "driver"
    _compile(kernels, *flags, str(HERE / "driver.cpp"), str(_scheduler()), "-o", str(program))
    return program


def compiled_for_gpu(folder: Path, stored: str) -> Path:
    """The same for this machine's GPUs, by nvcc and for one dtype (as in C++: ``Bf16``), if not there yet.

    Raises:
        toolkit.NoToolkit: CUDA is not compiled here; the message says why.
    """
    plan = build.plan()
    if plan.toolkit is None:
        raise toolkit.NoToolkit(plan.without_cuda or "")
    program = folder / f"driver_{stored}_{_state()}"
    if program.is_file():
        return program
    unfinished = program.with_suffix(".part")
    words = [str(plan.toolkit.nvcc), "-std=c++20", "-O3", *toolkit.flags(plan.architectures)]
    words += [f"-DONLY={stored}", f"-I{CUDA}", f"-I{HERE}", "-x", "cu", str(HERE / "driver.cpp")]
    subprocess.run([*words, "-o", str(unfinished)], check=True)
    os.replace(unfinished, program)
    return program


def _state() -> str:
    """Of all that a program is compiled from."""
    sources = [build.CSRC / "views.h", *sorted(CUDA.glob("*.h")), *sorted(HERE.glob("driver*.[ch]*"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def _compile(kernels: Path, *words: str) -> None:
    command = build.compiler()
    if command is None:
        raise build.NoCompiler
    options = ("-std=c++20", "-Wno-psabi", f"-I{kernels}", f"-I{HERE}")
    subprocess.run([*shlex.split(command), *options, *words], check=True)


_WORK = tempfile.TemporaryDirectory(prefix="memgan-emulator-")  # until the process ends
_ONE_AT_A_TIME = threading.Lock()


def _scheduler() -> Path:
    """The emulator itself, which no flag changes: compiled once a process, and optimized."""
    program = Path(_WORK.name) / "emulator.o"
    with _ONE_AT_A_TIME:
        if not program.exists():
            _compile(CUDA, "-O2", "-c", str(HERE / "emulator.cpp"), "-o", str(program))
    return program


@dataclass
class Case:
    """One forward and one backward of an op, and what they came to."""

    op: str
    inputs: Inputs
    tf32: bool = False
    attention: bool = True
    given: bool = True  # whether attention has a gradient
    seed: int = 0  # of the order in which threads take turns
    shared: int = 227 << 10  # bytes of shared memory that a block may have

    def __post_init__(self) -> None:
        made = torch.Generator().manual_seed(100)
        features, values = self.inputs.features, self.inputs.values

        def normal(*size: int) -> Tensor:
            return torch.randn(*size, generator=made, dtype=torch.float64).to(features.dtype)

        batch, words = values.shape[:2]
        self.grad = normal(batch, values.shape[2], *features.shape[2:])
        self.grad_attention = normal(batch, words, *features.shape[2:]) if self.given else None

    @property
    def results(self) -> dict[str, Tensor]:
        """Places for the results, as the ops make them."""
        x = self.inputs
        found = {"out": registration.empty_pixels(x.features, x.values.shape[2])}
        if self.attention:
            found["attention"] = x.features.new_empty(*x.keys.shape[:2], *x.features.shape[2:])
        found["grad_features"] = registration.empty_pixels(x.features, x.features.shape[1])
        found |= {
            "grad_keys": x.keys.new_empty(x.keys.shape),
            "grad_values": x.values.new_empty(x.values.shape),
        }
        if self.op == "memory_refine":
            found |= {"grad_weight": torch.empty_like(x.weight), "grad_bias": torch.empty_like(x.bias)}
        return found

    def write(self, folder: Path) -> None:
        """The case, for the driver."""
        folder.mkdir()
        x = self.inputs
        batch, channels, height, width = x.features.shape
        numbers = {
            "dtype": DTYPES.index(x.features.dtype),
            "tf32": int(self.tf32),
            "B": batch,
            "C": channels,
            "D": x.values.shape[2],
            "L": x.keys.shape[1],
            "N": height * width,
            "scale": x.scale,
            "seed": self.seed,
            "shared": self.shared,
        }
        lines = [f"number {name} {value!r}" for name, value in numbers.items()]
        given: dict[str, Tensor | None] = {
            "features": x.features,
            "keys": x.keys,
            "values": x.values,
            "mask": x.mask,
            "grad": self.grad,
            "grad_attention": self.grad_attention,
        }
        if self.op == "memory_refine":
            given |= {"weight": x.weight, "bias": x.bias}
        for kind, tensors in (("input", given), ("output", self.results)):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                storage = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                if kind == "input":
                    (folder / f"{name}.bin").write_bytes(storage.numpy().tobytes())
                strides = " ".join(str(stride) for stride in _strides(tensor))
                offset = tensor.storage_offset() * tensor.element_size()
                lines.append(f"{kind} {name} {storage.numel()} {offset} {strides}")
        (folder / "case.txt").write_text("\n".join(lines) + "\n")

    def read(self, folder: Path) -> dict[str, Tensor]:
        """What the driver wrote."""
        found = self.results
        for name, tensor in found.items():
            told = (folder / f"{name}.bin").read_bytes()
            if told:
                storage = torch.frombuffer(bytearray(told), dtype=tensor.dtype).untyped_storage()
                tensor.set_(storage, 0, tensor.shape, tensor.stride())
        return found

    def derivatives(self, inputs: Inputs, results: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Gradients of ``inputs`` behind ``results``, by the definition."""
        pairs = [(results[0], self.grad)]
        if self.grad_attention is not None:
            pairs.append((results[1], self.grad_attention))
        outputs = [result for result, _ in pairs]
        grads = [grad.to(result.dtype) for result, grad in pairs]
        return torch.autograd.grad(outputs, inputs.floating(self.op), grads)


def _strides(tensor: Tensor) -> tuple[int, int, int]:
    if tensor.dim() != 4:
        padded = (*tensor.stride(), 0, 0, 0)
        return padded[0], padded[1], padded[2]
    pixel = registration._pixel_stride(tensor)
    assert pixel is not None
    return tensor.stride(0), tensor.stride(1), pixel


def run(program: Path, folder: Path, *cases: Case) -> list[dict[str, Tensor]]:
    """Results of the cases, all in one process."""
    folders = [folder / str(index) for index in range(len(cases))]
    for case, place in zip(cases, folders):
        case.write(place)
    done = subprocess.run([str(program), *map(str, folders)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"the driver ended with {done.returncode}:\n{done.stdout}{done.stderr}"[:4000])
    return [case.read(place) for case, place in zip(cases, folders)]


def launches(folder: Path) -> dict[str, int]:
    """How many kernels each call of a case started."""
    lines = (folder / "launches.txt").read_text().splitlines()
    return {name: int(count) for name, count in (line.split() for line in lines)}
