"""Draws mask_defect.png: what the release's mask rows do to a batch, measured on the shipped model.

From the repository's root: ``python docs/figures/mask_defect.py``. It prints the numbers that it draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from reference_models.dmgan.sampling import SampledModel, load_model, noise_for

CAPTIONS = (
    "a red bird",
    "this bird has a blue belly",
    "a plump bird with a yellow crown and black wings",
    "this bird has a green back a white tail and a long thin beak",
    "a slender bird with a purple breast orange legs grey wings and a hooked beak",
    "a plump bird with a red crown a white belly a blue back a black tail and yellow legs",
)
SEED = 3
GREY, RED, GREEN = "#6b7280", "#dc2626", "#15803d"


@dataclass(frozen=True)
class Batch:
    """What one pass drew: images (B, S, S, 3) in 0..255, and the share of attention that fell on padding (B,)."""

    images: np.ndarray
    on_padding: np.ndarray


@torch.inference_mode()
def draw(model: SampledModel, indices: list[int], mask_mode: str) -> Batch:
    """Captions ``indices`` in one batch; the noise of each depends on its index alone."""
    for stage in model.generator.refinements:
        stage.memory.mask_mode = mask_mode
    ids = [model.vocabulary.encode(CAPTIONS[index]) for index in indices]
    lengths = torch.tensor([len(row) for row in ids])
    width = max(len(model.vocabulary.encode(caption)) for caption in CAPTIONS)
    padded = torch.zeros(len(ids), width, dtype=torch.int64)
    for row, words in enumerate(ids):
        padded[row, : len(words)] = torch.tensor(words)
    words, sentence = model.text_encoder(padded, lengths)
    mask = torch.arange(words.shape[1]) < lengths[:, None]
    settings = model.generator.config
    noise = noise_for(SEED, indices, settings.noise_dim + settings.condition_dim)
    output = model.generator(
        noise[:, : settings.noise_dim],
        sentence,
        words,
        mask,
        condition_noise=noise[:, settings.noise_dim :],
        return_attention=True,
    )
    shares = [of_stage(attention, mask) for attention in output.attention]
    images = ((output.images[-1] + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1)
    return Batch(images.numpy(), torch.stack(shares).mean(0).numpy())


def of_stage(attention: Tensor, mask: Tensor) -> Tensor:
    """Share of the attention (B, L, H, W) on padding, (B,)."""
    by_word = attention.mean((2, 3))  # (B, L): sums to 1
    return by_word.masked_fill(mask, 0.0).sum(1)


def main() -> None:
    model = load_model()
    everyone = list(range(len(CAPTIONS)))
    alone = draw(model, [0], "aligned")
    aligned, release = draw(model, everyone, "aligned"), draw(model, everyone, "release")
    change = np.abs(release.images[0] - alone.images[0])
    unchanged = np.abs(aligned.images[0] - alone.images[0]).max()
    print(
        f"first caption, largest change of a pixel: aligned {unchanged:.4f}, release {change.max():.1f} of 255"
    )
    print(
        f"attention on padding: aligned {aligned.on_padding.mean():.1%}, release {release.on_padding.mean():.1%}"
    )

    plt.rcParams.update({"font.size": 10, "font.family": "DejaVu Sans"})
    figure = plt.figure(figsize=(9.6, 5.6), dpi=130, facecolor="white")
    grid = figure.add_gridspec(
        2, 4, height_ratios=(1.15, 1), left=0.02, right=0.98, top=0.87, bottom=0.03, hspace=0.3, wspace=0.08
    )
    panels = [
        (alone.images[0], "drawn alone", GREY),
        (aligned.images[0], "in a batch of six, aligned", GREEN),
        (release.images[0], "in a batch of six, release", RED),
        (change.max(-1), f"what the neighbours changed\n(up to {change.max():.0f} of 255 grey levels)", RED),
    ]
    for place, (picture, title, colour) in enumerate(panels):
        axes = figure.add_subplot(grid[0, place])
        if picture.ndim == 3:
            axes.imshow(picture.astype(np.uint8), interpolation="nearest")
        else:
            axes.imshow(picture, cmap="magma", vmin=0, vmax=max(picture.max(), 1), interpolation="nearest")
        axes.set_title(title, color=colour, fontsize=9.5)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.text(0.02, 0.95, f"“{CAPTIONS[0]}”, always the same noise", fontsize=12, weight="bold")

    axes = figure.add_subplot(grid[1, :])
    box = axes.get_position()
    axes.set_position((0.525, box.y0, 0.455, box.height))
    rows = np.arange(len(CAPTIONS))
    axes.barh(rows, 100 * release.on_padding, 0.62, color=RED)
    for row, share in zip(rows, release.on_padding):
        axes.text(100 * share + 0.7, row, f"{share:.0%}", va="center", fontsize=9, color=RED)
    axes.set_yticks(rows, CAPTIONS, fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xlim(0, max(10.0, 112 * release.on_padding.max()))
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    figure.text(0.02, box.y1 + 0.03, "Attention that falls on padding", fontsize=12, weight="bold")
    figure.text(0.525, box.y1 + 0.03, "release", fontsize=10, color=RED, weight="bold")
    told = f"aligned: {aligned.on_padding.max():.0%} for every caption"
    figure.text(0.61, box.y1 + 0.03, told, fontsize=10, color=GREEN, weight="bold")
    figure.savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})


if __name__ == "__main__":
    main()
