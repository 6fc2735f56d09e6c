"""Scores of two folders of images, for models that are not ours: ``evaluate --real DIR --fake DIR``.

Axis letters: B batch, I images, F features, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reference_models.dmgan.data.images import open_image
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.features import SceneNet
from reference_models.dmgan.evaluation.images import network_input
from reference_models.dmgan.evaluation.inception_tf import ScoreInception
from reference_models.dmgan.evaluation.judge import SIZE
from reference_models.dmgan.evaluation.numbers import at_least
from reference_models.dmgan.evaluation.protocol import Protocol
from reference_models.dmgan.evaluation.store import file_sha256
from reference_models.dmgan.metrics import (
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall,
)

SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".bmp": "bmp"}


class Extracted(NamedTuple):
    """A folder as a network sees it."""

    features: Tensor  # (I, F) float32
    probabilities: Tensor | None  # (I, K), where the network has classes
    formats: str  # "png", or "jpeg+png"


def image_files(folder: Path | str) -> list[Path]:
    """All image files below ``folder``, sorted by path; none is an error."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    return files


def files_digest(files: list[Path], folder: Path | str) -> str:
    """sha256 of the files' paths below ``folder`` and of their bytes: whose images a score was measured against."""
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder).as_posix()}\0{file_sha256(path)}\n".encode())
    return whole.hexdigest()


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8, decoded as data sets decode theirs; a damaged, truncated or refused file is named."""
    return np.array(open_image(path))


def batches(files: list[Path], batch: int) -> Iterator[list[Tensor]]:
    """uint8 (3, H, W) images, ``batch`` at a time; sizes may differ."""
    for start in range(0, len(files), batch):
        yield [torch.from_numpy(read_image(path)).permute(2, 0, 1) for path in files[start : start + batch]]


@torch.no_grad()
def extract(
    files: list[Path],
    network: ScoreInception | SceneNet,
    *,
    batch: int = 50,
    say: Callable[[str], None] = lambda _: None,
) -> Extracted:
    """Features of every file, in order; probabilities too from an Inception."""
    device = next(network.parameters()).device
    features, probabilities = [], []
    for number, images in enumerate(batches(files, batch)):
        if isinstance(network, ScoreInception):
            prepared = torch.cat([network.prepare(image[None].to(device)) for image in images])
            pooled = network(prepared)[1]
            features.append(pooled.cpu())
            probabilities.append(network.probabilities(pooled).cpu())
        else:
            pixels = torch.cat([network_input(_scene_size(image)[None]) for image in images])
            features.append(network.features(pixels.to(device)).cpu())
        say(f"{min((number + 1) * batch, len(files))}/{len(files)} images")
    formats = "+".join(sorted({SUFFIXES[path.suffix.lower()] for path in files}))
    return Extracted(torch.cat(features), torch.cat(probabilities) if probabilities else None, formats)


def _scene_size(image: Tensor) -> Tensor:
    if tuple(image.shape[-2:]) == (SIZE, SIZE):
        return image
    resized = F.interpolate(
        image[None].float(), (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def score_folders(
    real: Path | str,
    fake: Path | str,
    network: ScoreInception | SceneNet,
    *,
    batch: int = 50,
    k: int = 3,
    splits: int = 10,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The result of ``--real DIR --fake DIR``: FID, KID, precision and recall; IS too with an Inception.

    KID's subsets and IS's splits shrink to the smaller folder; precision and recall take equally many images
    of both (the first by path). The counts are in the protocol, so such figures are compared with their like.
    """
    at_least(1, batch=batch)
    at_least(0, seed=seed)
    files = {"real": image_files(real), "fake": image_files(fake)}
    for name, paths in files.items():
        if len(paths) < k + 2:
            raise DataError(f"`--{name}` must hold at least {k + 2} images, got {len(paths)}")
    sides = {
        name: extract(paths, network, batch=batch, say=lambda text, name=name: say(f"{name}: {text}"))  # type: ignore[misc]
        for name, paths in files.items()
    }
    first, second = sides["real"].features, sides["fake"].features
    count = min(len(first), len(second))
    subset = min(subset_size, count)
    kernel = kernel_distance(first, second, subsets=subsets, subset_size=subset, seed=seed)
    manifold = precision_recall(first[:count], second[:count], k=k)
    scores: dict[str, Any] = {
        "fid": {"value": frechet_distance(first, second)},
        "kid": {"value": kernel.mean, "std": kernel.std, "subset_size": subset},
        "precision": {"value": manifold.precision},
        "recall": {"value": manifold.recall},
    }
    used = min(splits, len(second))
    if sides["fake"].probabilities is not None:
        score = inception_score(sides["fake"].probabilities, splits=used)
        scores["inception_score"] = {"value": score.mean, "std": score.std}
    inception = isinstance(network, ScoreInception)
    protocol = Protocol(
        name=network.variant if isinstance(network, ScoreInception) else "folders",
        extractors={"features": str(network.sha256)},
        extractor=f"inception-v3-{network.variant}" if isinstance(network, ScoreInception) else "scene",
        resize="bilinear to 299" if inception else f"antialiased bilinear to {SIZE}",
        normalisation=NORMALISATION[network.variant] if isinstance(network, ScoreInception) else "[-1, 1]",
        count=len(second),
        reference_count=len(first),
        reference_sha256=files_digest(files["real"], real),
        seed=seed,
        file_format=f"real {sides['real'].formats}, fake {sides['fake'].formats}",
        splits=used if inception else 0,
    )
    return {"protocol": protocol.to_dict(), "scores": scores}


NORMALISATION = {"tf": "[-1, 1]", "released": "x * (s / 0.5) + (m - 0.5) / 0.5 on [0, 1] pixels"}
