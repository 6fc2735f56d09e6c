"""Draws one_caption.png: first to refined image, and which pixels read which word, on the shipped model.

From the repository's root: ``python docs/figures/one_caption.py``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from reference_models.dmgan.generator import Inspection
from reference_models.dmgan.sampling import load_model, noise_for

CAPTION = "a bird with a red crown a yellow belly and blue wings"
SEED, BLUE, GREY = 13, "#1d4ed8", "#6b7280"


@torch.inference_mode()
def look() -> tuple[list[str], Inspection]:
    """The words that the model knows, and all that its memories did."""
    model = load_model()
    ids = model.vocabulary.encode(CAPTION)
    words, sentence = model.text_encoder(torch.tensor([ids]), torch.tensor([len(ids)]))
    settings = model.generator.config
    noise = noise_for(SEED, [0], settings.noise_dim + settings.condition_dim)
    seen = model.generator.inspect(
        noise[:, : settings.noise_dim], sentence, words, condition_noise=noise[:, settings.noise_dim :]
    )
    return [model.vocabulary.words[index] for index in ids], seen


def main() -> None:
    words, seen = look()
    stages = len(seen.attention)
    columns = len(words)
    figure = plt.figure(
        figsize=(0.92 * columns + 0.9, 2.95 + 1.2 * stages + 1.85), dpi=130, facecolor="white"
    )
    plt.rcParams.update({"font.size": 10, "font.family": "DejaVu Sans"})
    height = figure.get_figheight()
    left, width = 0.1, 0.88

    figure.text(0.02, 1 - 0.3 / height, f"“{CAPTION}”", fontsize=12, weight="bold")
    for place, image in enumerate(seen.images):
        side = 1.75
        axes = figure.add_axes(
            (left + place * 0.178, 1 - 2.55 / height, side / figure.get_figwidth(), side / height)
        )
        axes.imshow(((image[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy(), interpolation="nearest")
        size = image.shape[-1]
        axes.set_title(f"{'first' if place == 0 else 'refined'}, {size} pixels", fontsize=9.5)
        axes.axis("off")

    for stage, gate in enumerate(seen.response_gate):
        if gate is None:
            continue
        place = len(seen.images) + stage
        spot = (left + place * 0.178, 1 - 2.55 / height, 1.75 / figure.get_figwidth(), 1.75 / height)
        axes = figure.add_axes(spot)
        axes.imshow(gate[0, 0].numpy(), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"response gate, memory {stage + 1}", fontsize=9.5)
        axes.axis("off")

    for stage, attention in enumerate(seen.attention):
        maps = attention[0].numpy()  # (L, H, W)
        for place, word in enumerate(words):
            cell = width / columns
            bottom = 1 - (3.2 + 1.2 * stage + 0.85) / height
            axes = figure.add_axes((left + place * cell, bottom, 0.93 * cell, 0.85 / height))
            axes.imshow(maps[place], cmap="magma", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
            if stage == 0:
                axes.set_title(word, fontsize=9.5)
            axes.set_xlabel(f"{maps[place].mean():.0%}", fontsize=8.5, color=GREY, labelpad=2)
        figure.text(0.02, bottom + 0.42 / height, f"memory {stage + 1}", fontsize=9, rotation=90, va="center")
    figure.text(
        0.02,
        1 - 2.9 / height,
        "Attention of every pixel to each word: black 0, white 1; below, its mean",
        fontsize=10,
    )

    bottom = 0.32 / height
    figure.text(
        0.02, bottom + 1.1 / height, "Write gate: how much of a slot is the word, 0 to 1", fontsize=10
    )
    axes = figure.add_axes((left, bottom, width, 0.95 / height))
    at = np.arange(columns)
    for stage, gates in enumerate(seen.write_gate):
        if gates is None:
            continue
        shift = (stage - (stages - 1) / 2) * 0.36
        colour = (BLUE, "#93c5fd")[stage % 2]
        axes.bar(at + shift, gates[0].numpy(), 0.34, color=colour, label=f"memory {stage + 1}")
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(0, 1)
    axes.set_xticks(at, words, fontsize=9)
    axes.set_yticks([0, 1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=2, fontsize=8.5, loc="lower right", bbox_to_anchor=(1.0, 0.98))
    figure.savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})


if __name__ == "__main__":
    main()
