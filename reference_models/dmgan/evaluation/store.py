"""Evaluation networks on disk: ``<name>.safetensors`` and ``<name>.json`` beside it.

Matrices and convolutions are stored as float16 and loaded as float32; the accuracies in the JSON file are
those of the network as loaded. BatchNorm and biases stay float32: they are small, and a variance may be
below what float16 holds.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.evaluation.features import SceneNet
from reference_models.dmgan.evaluation.judge import Judge
from reference_models.dmgan.evaluation.retrieval import Retrieval
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.state_file import read_facts

NETWORKS: dict[str, type[nn.Module]] = {"judge": Judge, "scene": SceneNet, "retrieval": Retrieval}
SHIPPED = Path(__file__).parents[1] / "weights" / "birds_eval"


def save_network(name: str, network: nn.Module, folder: Path, facts: dict[str, Any]) -> str:
    """Write a network and how it was made; returns the sha256 of its weight file. Whole or not at all."""
    from safetensors.torch import save_file

    state = {
        key: (value.half() if value.ndim >= 2 and value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    path = folder / f"{name}.safetensors"
    with write_atomically(path) as temporary:
        save_file(state, temporary)
        temporary.chmod(0o644)
    digest = file_sha256(path)
    settings = network.settings()  # type: ignore[operator]
    description = {"network": name, "sha256": digest, "settings": settings, **facts}
    with write_atomically(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(description, indent=1) + "\n")
    return digest


def load_network(name: str, folder: Path | str = SHIPPED) -> Any:
    """The network called ``name`` in eval mode, float32, with attributes ``sha256`` and ``facts``.

    Raises:
        FileNotFoundError: a file is missing; the message says what makes it.
        CheckpointError: the weight file is not the one that the JSON file describes, or does not fit it.
    """
    from safetensors.torch import load_file

    path = Path(folder) / f"{name}.safetensors"
    if not path.exists() or not path.with_suffix(".json").exists():
        raise FileNotFoundError(
            f"{path} (with its .json) is missing; make it with "
            f"`python -m reference_models.dmgan evaluate train-judges --out {folder}`"
        )
    facts = read_facts(path.with_suffix(".json"))
    digest = file_sha256(path)
    if facts["sha256"] != digest:
        raise CheckpointError(
            f"{path}: its sha256 is {digest[:12]}..., {path.with_suffix('.json').name} says "
            f"{facts['sha256'][:12]}...: the file is damaged or belongs to another training"
        )
    network = NETWORKS[name](**facts["settings"])
    state = {
        key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit its settings: {str(error).splitlines()[-1].strip()}"
        ) from None
    network.facts, network.sha256 = facts, digest  # type: ignore[assignment]
    return network.eval().requires_grad_(False)


def file_sha256(path: Path | str) -> str:
    """Hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def half_rounded(network: nn.Module) -> nn.Module:
    """Round a network in place as storing and loading it would."""
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.ndim >= 2 and value.is_floating_point():
                value.copy_(value.half())
    return network
