"""How far drawing in bfloat16 moves a set of images: the FID between forms beside that between two seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reference_models.dmgan.evaluation.birds import captions_of
from reference_models.dmgan.evaluation.embedded import look
from reference_models.dmgan.evaluation.images import to_uint8
from reference_models.dmgan.evaluation.run import load_networks
from reference_models.dmgan.metrics import frechet_distance
from reference_models.dmgan.sampling import Precision, SampledModel, generate, load_model

MODEL = "birds_demo, as shipped"


def between(count: int, say: Callable[[str], object]) -> list[dict[str, Any]]:
    """Rows: the pair, its FID in SceneNet's features, and the mean distance of a pixel on the scale of 255."""
    model, networks = load_model(), load_networks(judge=False)
    texts = captions_of("test", count).texts
    sets = {
        "float32": drawn(model, texts, seed=0, precision="float32"),
        "bfloat16": drawn(model, texts, seed=0, precision="bfloat16"),
        "another seed": drawn(model, texts, seed=1, precision="float32"),
    }
    features = {name: look(images, networks).features for name, images in sets.items()}
    rows = []
    for name in ("bfloat16", "another seed"):
        distance = frechet_distance(features["float32"], features[name])
        moved = float(np.abs(sets["float32"].astype(float) - sets[name]).mean())
        rows.append({"pair": f"float32, {name}", "fid": distance, "mean_difference": moved,
                     "images": count, "model": MODEL})  # fmt: skip
        say(f"{rows[-1]['pair']}: FID {distance:.4f}, pixels {moved:.2f} of 255")
    return rows


def drawn(model: SampledModel, texts: Sequence[str], *, seed: int, precision: Precision) -> np.ndarray:
    """The last stage's images as `sample` writes them, (I, S, S, 3) uint8."""
    size = model.config.generator.sizes[-1]
    images = np.zeros((len(texts), size, size, 3), dtype=np.uint8)
    for one in generate(model, texts, seed=seed, batch_size=50, precision=precision):
        images[one.index] = to_uint8(one.images[-1][None])[0].permute(1, 2, 0).numpy()
    return images
