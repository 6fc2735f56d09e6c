"""Draws refinement.png: captions of species that no training saw, from the first image to the last, shipped model.

From the repository's root: ``python docs/figures/refinement.py``.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from reference_models.dmgan.evaluation.birds import captions_of
from reference_models.dmgan.sampling import generate, load_model

COLUMNS, SEED = 6, 0


def main() -> None:
    texts = captions_of("test", COLUMNS, seed=SEED).texts
    drawn = sorted(generate(load_model(), texts, seed=SEED), key=lambda one: one.index)
    rows = len(drawn[0].images)
    plt.rcParams.update({"font.size": 9, "font.family": "DejaVu Sans"})
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(1.6 * COLUMNS, 1.55 * rows + 0.7), dpi=130, squeeze=False, facecolor="white"
    )
    for column, one in enumerate(drawn):
        for row, image in enumerate(one.images):
            shown = axes[row][column]
            shown.imshow(((image.permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy(), interpolation="nearest")
            shown.set_xticks([])
            shown.set_yticks([])
            shown.spines[:].set_visible(False)
            if column == 0:
                shown.set_ylabel(f"{'refined' if row else 'first'}, {image.shape[-1]}")
        axes[-1][column].set_xlabel(textwrap.fill(one.caption, 25), fontsize=7.5, labelpad=6)
    figure.subplots_adjust(left=0.035, right=0.995, top=0.99, bottom=0.15, wspace=0.04, hspace=0.04)
    figure.savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})


if __name__ == "__main__":
    main()
