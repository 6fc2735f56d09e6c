"""Reading a released checkpoint and filling a network from it, strictly and by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.state_file import check_state, read_state_file

Source = str | Path | Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)

# BatchNorm's step counter does not touch the numbers, and files older than PyTorch 0.4.1 do not have it.
COUNTER = "num_batches_tracked"


def read_state(source: Source, what: str) -> dict[str, Tensor]:
    """The state dict of ``source``, a path or a state dict, without ``module.`` prefixes.

    ``what`` names the network in messages.
    """
    if isinstance(source, Mapping):
        state = check_state(source, what, f"the {what}'s state dict")
    else:
        state = read_state_file(source, what)
    return {key.removeprefix("module."): value for key, value in state.items()}


def shape_of(state: Mapping[str, Tensor], key: str, dimensions: int, what: str) -> tuple[int, ...]:
    """The shape of ``state[key]``, from which sizes are inferred; named when missing or of another rank."""
    if key not in state:
        some = ", ".join(sorted(state)[:3]) or "none"
        raise CheckpointError(f"not a released {what}: no key {key!r} (keys begin with {some})")
    shape = tuple(state[key].shape)
    if len(shape) != dimensions or not all(shape):
        raise CheckpointError(f"released {what}: {key!r} must have {dimensions} axes, got shape {shape}")
    return shape


def count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many blocks ``<prefix>0.``, ``<prefix>1.``, ... there are: the highest number (below 100) plus one.

    (So that a key that is missing from a block is reported as missing, not its siblings as unknown.)
    """
    numbers = [number for number in range(100) if any(key.startswith(f"{prefix}{number}.") for key in state)]
    return max(numbers, default=-1) + 1


def prefixed(names: Mapping[str, str], released: str, ours: str) -> dict[str, str]:
    """``names`` (released → ours) one level deeper on both sides."""
    return {f"{released}{theirs}": f"{ours}{mine}" for theirs, mine in names.items()}


def batch_norm(released: str, ours: str) -> dict[str, str]:
    """Names of one BatchNorm's five entries."""
    entries = ("weight", "bias", "running_mean", "running_var", COUNTER)
    return {f"{released}.{entry}": f"{ours}.{entry}" for entry in entries}


def fill(network: Network, state: Mapping[str, Tensor], names: Mapping[str, str], what: str) -> Network:
    """Give ``network`` (made on the meta device) the tensors of ``state``; return it in eval mode.

    ``names`` maps each released key to ours. A missing, extra or misshapen key is named, with both shapes.
    A released tensor may differ in shape from ours by axes of length 1 (a 1x1 convolution's weight where we
    keep a matrix).
    """
    wanted = network.state_dict()
    untold = sorted(set(wanted) - set(names.values()))
    assert not untold, f"no released name for {untold}"
    missing = sorted(key for key in names if key not in state and not key.endswith(COUNTER))
    extra = sorted(key for key in state if key not in names)
    misshapen = [
        f"{key!r} must have shape {_told(wanted[names[key]])}, got {tuple(state[key].shape)}"
        for key in names
        if key in state and _squeezed(state[key]) != _squeezed(wanted[names[key]])
    ]
    faults = []
    if missing:
        faults.append(f"missing {_listed(missing)}")
    if extra:
        faults.append(f"unknown {_listed(extra)}")
    faults += misshapen[:4]
    if faults:
        raise CheckpointError(f"released {what}: " + "; ".join(faults))

    filled = {}
    for theirs, mine in names.items():
        if theirs not in state:
            filled[mine] = torch.zeros((), dtype=torch.int64)
            continue
        value = state[theirs].detach().reshape(wanted[mine].shape)
        # Copies: training the network must not write into the caller's state dict.
        filled[mine] = value.to(wanted[mine].dtype, copy=True)
    network.load_state_dict(filled, strict=True, assign=True)
    return network.eval()


def _squeezed(tensor: Tensor) -> list[int]:
    return [length for length in tensor.shape if length != 1]


def _told(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _listed(keys: list[str]) -> str:
    told = ", ".join(repr(key) for key in keys[:4])
    return told + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
