"""Several processes as one run: who they are, what they share, and how they fail together.

Started by ``torchrun``, which sets RANK, WORLD_SIZE and LOCAL_RANK. Every function here does nothing, or the plain
thing, where there is one process.
"""

from __future__ import annotations

import datetime
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Not used here. DistributedDataParallel imports it, and its functions have the group of that moment as a default: that
# would outlive `leave` with its threads, and one that drops a tensor while Python ends aborts the process.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from reference_models.dmgan.errors import ConfigError, DmganError

T = TypeVar("T")
PATIENCE = datetime.timedelta(minutes=10)  # a collective that waits longer has lost its partner


@dataclass(frozen=True)
class World:
    """This process among all processes of the run."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0


def usable_device(name: str) -> torch.device:
    """The device that ``--device`` names; ConfigError where there is none such."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"`--device {name}` is no device: cpu, cuda or cuda:0, cuda:1, ...") from error
    if device.type == "meta":
        raise ConfigError("`--device meta` computes nothing: cpu, cuda or cuda:0, cuda:1, ...")
    if device.type != "cuda":
        try:
            torch.empty(1, device=device)
        except (RuntimeError, NotImplementedError) as error:
            why = str(error).splitlines()[0]
            raise ConfigError(f"`--device {name}`: torch has no such device here ({why})") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"`--device {name}`: torch sees {count} GPUs here")
    return device


def join(device: str) -> tuple[World, torch.device]:
    """Join the processes that ``torchrun`` started: gloo on CPU, NCCL on GPUs, one GPU a process."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(), usable_device(device)
    chosen = usable_device(device)
    if chosen.type == "cuda":
        chosen = usable_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    return World(dist.get_rank(), dist.get_world_size()), chosen


def leave() -> None:
    """Leave the group, if there is one, and end its threads; networks of the run must be gone, for they hold it."""
    if dist.is_initialized():
        dist.destroy_process_group()


def together(world: World, what: str, act: Callable[[], T]) -> T:
    """``act()`` on every rank; where one fails all fail, with that rank's sentence, and none waits for ever."""
    result: Any = None
    told: str | None = None
    failure: Exception | None = None
    try:
        result = act()
    except Exception as error:
        failure, told = error, f"{type(error).__name__}: {error}"
    if world.size > 1:
        answers = all_objects(world, told)
        wrong = [f"rank {rank}: {answer}" for rank, answer in enumerate(answers) if answer is not None]
        if wrong and failure is None:
            raise DmganError(f"{what}: {'; '.join(wrong)}")
    if failure is not None:
        raise failure
    return result  # type: ignore[no-any-return]


def all_objects(world: World, value: T) -> list[T]:
    """``value`` of every rank, in order."""
    if world.size == 1:
        return [value]
    gathered: list[Any] = [None] * world.size
    dist.all_gather_object(gathered, value)
    return gathered


def agree(world: World, facts: dict[str, str]) -> None:
    """Every rank must have the same ``facts`` (configuration, code, versions).

    Raises:
        ConfigError: on every rank, naming the first that differs.
    """
    answers = all_objects(world, facts)
    for rank, theirs in enumerate(answers):
        for name, value in theirs.items():
            if value != answers[0][name]:
                raise ConfigError(
                    f"rank {rank} has another {name} than rank 0: {value} instead of {answers[0][name]}"
                )


class _Gather(torch.autograd.Function):
    """Concatenate over ranks. Each rank computes the same loss of the whole, so its gradients are summed back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, world: World, alike: bool) -> Tensor:
        ctx.world, ctx.count, ctx.alike = world, len(tensor), alike
        parts = [torch.empty_like(tensor) for _ in range(world.size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        start, count = ctx.world.rank * ctx.count, ctx.count
        if ctx.alike:
            return grad[start : start + count] * ctx.world.size, None, None
        # Autograd's own may be shared: not ours to change.
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[start : start + count], None, None


def gather(world: World, tensor: Tensor, *, alike: bool = False) -> Tensor:
    """``tensor`` (b, ...) of every rank, (world * b, ...), differentiably.

    With a loss of the gathered tensor on every rank, and gradients averaged over ranks as
    DistributedDataParallel does, parameters get exactly the gradient of that loss.

    ``alike``: every rank computes the same from the gathered tensor, so that the gradients are the same too and
    need not be exchanged to be added.
    """
    if world.size == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor, world, alike)
    return gathered


def largest(world: World, value: int, device: torch.device) -> int:
    """The largest ``value`` of all ranks."""
    if world.size == 1:
        return value
    shared = torch.tensor(value, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared)


def all_true(world: World, value: Tensor) -> bool:
    """Whether ``value`` () bool is true on every rank."""
    if world.size > 1:
        shared = value.to(torch.int32)
        dist.all_reduce(shared, dist.ReduceOp.MIN)
        value = shared
    return bool(value)


def mean(world: World, values: Tensor) -> Tensor:
    """``values`` averaged over ranks."""
    if world.size > 1:
        values = values.clone()
        dist.all_reduce(values)
        values /= world.size
    return values


def summed(world: World, values: Tensor) -> Tensor:
    """``values`` added up over ranks, in their own dtype."""
    if world.size > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def parallel(world: World, module: nn.Module, device: torch.device) -> nn.Module:
    """``module`` with its gradients averaged over ranks; BatchNorm's statistics stay each rank's own."""
    if world.size == 1:
        return module
    devices = [device] if device.type == "cuda" else None
    known = inspect.signature(DistributedDataParallel).parameters  # torch renamed it
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(module, device_ids=devices, **{name: False})


def plain(module: nn.Module) -> nn.Module:
    """The module inside of :func:`parallel`."""
    return module.module if isinstance(module, DistributedDataParallel) else module
