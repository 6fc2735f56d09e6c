"""Inception-v3 for scores: the 2015 TensorFlow network, and the ImageNet one of the released code's FID.

The TensorFlow graph differs from torchvision's module in its pools (borders are not counted in averages;
the last block takes a maximum) and has 1008 classes. Weight files come by path and are known by their
sha256; nothing is downloaded. Expected keys: torchvision's, as every PyTorch port of that graph has them.

Axis letters: B batch, K classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.evaluation.store import file_sha256
from reference_models.dmgan.inception import InceptionA, InceptionC, InceptionE, InceptionTrunk
from reference_models.dmgan.state_file import read_state_file

Variant = Literal["tf", "released"]
CLASSES = {"tf": 1008, "released": 1000}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class TfInceptionA(InceptionA):
    """35x35; averages leave the border out."""

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        wide = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(_average(x))], 1)


class TfInceptionC(InceptionC):
    """17x17; averages leave the border out."""

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], 1)


class TfInceptionE(InceptionE):
    """8x8; the first of the two blocks averages without the border, the second takes the maximum."""

    def __init__(self, channels: int, pool: Literal["average", "maximum"]) -> None:
        super().__init__(channels)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        pooled = _average(x) if self.pool == "average" else F.max_pool2d(x, 3, stride=1, padding=1)
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        forks = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        forks += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *forks, self.branch_pool(pooled)], 1)


class ScoreInception(InceptionTrunk):
    """uint8 images (B, 3, S, S) → pooled features (B, 2048) and class probabilities (B, K)."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        if variant == "tf":
            self.Mixed_5b = TfInceptionA(192, 32)
            self.Mixed_5c = TfInceptionA(256, 64)
            self.Mixed_5d = TfInceptionA(288, 64)
            self.Mixed_6b = TfInceptionC(768, 128)
            self.Mixed_6c = TfInceptionC(768, 160)
            self.Mixed_6d = TfInceptionC(768, 160)
            self.Mixed_6e = TfInceptionC(768, 192)
            self.Mixed_7b = TfInceptionE(1280, "average")
            self.Mixed_7c = TfInceptionE(2048, "maximum")
        self.fc = nn.Linear(2048, CLASSES[variant])

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 of any size → what the network is given, (B, 3, 299, 299) float32."""
        pixels = F.interpolate(images.float() / 255, (299, 299), mode="bilinear", align_corners=False)
        return normalise(pixels, self.variant)

    def probabilities(self, features: Tensor) -> Tensor:
        """Pooled features (B, 2048) → (B, K); the logits leave the bias out for "tf", as its score does."""
        logits = features @ self.fc.weight.T
        return (logits if self.variant == "tf" else logits + self.fc.bias).softmax(1)

    @torch.no_grad()
    def scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 images (B, 3, S, S) → features (B, 2048) and probabilities (B, K)."""
        _, features = self(self.prepare(images))
        return features, self.probabilities(features)


def normalise(pixels: Tensor, variant: Variant) -> Tensor:
    """[0, 1] pixels (B, 3, H, W) → the network's input.

    ``tf``: [-1, 1]. ``released``: the release's FID scale, ``x * (s / 0.5) + (m - 0.5) / 0.5`` per channel.
    That is the transform meant for pixels in [-1, 1] applied to [0, 1]: a private scale (about -0.03 to
    0.43 in red), kept only so that old tables can be compared like with like.
    """
    if variant == "tf":
        return pixels * 2 - 1
    mean = torch.tensor(MEAN, dtype=pixels.dtype, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, dtype=pixels.dtype, device=pixels.device).view(1, 3, 1, 1)
    return pixels * (std / 0.5) + (mean - 0.5) / 0.5


def load_score_inception(path: Path | str, variant: Variant, *, sha256: str = "") -> ScoreInception:
    """The network with a published weight file; its attribute ``sha256`` goes into the protocol.

    Args:
        path: the weight file, torchvision's keys; an auxiliary head is ignored.
        sha256: when given, the file must have it (or begin with it).

    Raises:
        FileNotFoundError, CheckpointError: no file; another sha256; a damaged file; missing or misshapen
        keys.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no Inception weight file at {path}")
    digest = file_sha256(path)
    if not digest.startswith(sha256.lower()):
        raise CheckpointError(f"{path}: sha256 {digest}, expected {sha256}")
    state = read_state_file(path, "scoring network")
    state = {key: value for key, value in state.items() if not key.startswith("AuxLogits.")}
    classes = next(iter(state["fc.weight"].shape), None) if "fc.weight" in state else None
    if classes != CLASSES[variant]:
        raise CheckpointError(
            f"{path}: protocol {variant!r} needs a classifier of {CLASSES[variant]} classes (`fc.weight`), "
            f"got {'none' if classes is None else classes}"
        )
    network = ScoreInception(variant)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit Inception-v3: {error}") from error
    network.sha256 = digest  # type: ignore[assignment]
    return network.eval().requires_grad_(False)
