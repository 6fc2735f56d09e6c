"""Let a trained model draw with wider noise than it was trained with: by its weights, so that nothing else changes.

::

    python -m reference_models.dmgan.widening --model runs/shipped --out reference_models/dmgan/weights/birds_demo

A generator draws less varied pictures than it was shown. Truncation (Brock et al., 2019) narrows the noise of a trained
one, for typical pictures; this goes the other way. How far is chosen on captions of validation species, by the Fréchet
distance to right answers: too narrow lacks variety, too wide draws what no caption asked for, and it counts both. The
scores of the written weights are ``evaluate``'s, on other species.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference_models.dmgan.command_line import run
from reference_models.dmgan.commands.options import set_threads
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.evaluation.answers import right_answers
from reference_models.dmgan.evaluation.birds import captions_of
from reference_models.dmgan.evaluation.drawing import draw_images
from reference_models.dmgan.evaluation.embedded import answer_scores, scene_features
from reference_models.dmgan.evaluation.run import load_networks
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.sampling import fastest
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.training.weights import (
    load_generator,
    load_text_encoder,
    read_config,
    write_tensors,
)

SPLIT = "validation"
SCALES = (1.0, 1.1, 1.2, 1.3, 1.4)
Score = Callable[[Generator], dict[str, float]]


@torch.no_grad()
def widened(generator: Generator, scale: float) -> Generator:
    """A copy that draws of noise what ``generator`` draws of ``scale`` times the noise, conditioning noise included.

    The first layer takes the condition mu + sigma e beside the noise z, and its weights grow by ``scale``; mu, which
    is the value half of a gated linear unit, shrinks by as much.

    Raises:
        ConfigError: ``scale`` is not above 0.
    """
    if not scale > 0:
        raise ConfigError(f"`scale` of the noise must be above 0, got {scale}")
    wide = copy.deepcopy(generator)
    means = wide.config.condition_dim
    for parameter in wide.conditioning.linear.parameters():
        parameter[:means] /= scale
    wide.initial.linear.weight *= scale
    return wide


def scorer(folder: Path, count: int, say: Callable[[str], None] = lambda _: None) -> Score:
    """Fréchet distance, precision and recall of a generator among right answers to ``count`` validation captions."""
    text, vocabulary = load_text_encoder(folder, read_config(folder))
    scene = load_networks(judge=False).scene
    texts = captions_of(SPLIT, count).texts
    say("right answers")
    answers: list[Tensor] = [scene_features(right_answers(SPLIT, count, series), scene) for series in (0, 1)]

    def score(generator: Generator) -> dict[str, float]:
        fake = draw_images(fastest(generator), text, vocabulary, texts)
        scores = answer_scores(scene_features(fake, scene), *answers)
        return {name: scores[name]["value"] for name in ("fid", "precision", "recall")}

    return score


def widen_model(
    folder: Path,
    out: Path,
    score: Score,
    *,
    scales: Sequence[float] = SCALES,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write ``folder`` to ``out`` (which may be the same) with the noise as wide as scores best by ``score``.

    ``how.json`` then says which width that is and what every one scored; ``evaluation.json``, of other weights, goes.

    Raises:
        ConfigError: there is no scale, or one is not above 0.
        FileNotFoundError: ``folder`` is no model's.
    """
    if not scales:
        raise ConfigError("`scales` must hold at least one, got none")
    config = read_config(folder)
    generator = load_generator(folder, config)
    tried: dict[float, dict[str, float]] = {}
    for scale in scales:
        tried[scale] = score(widened(generator, scale))
        say(f"noise x {scale:g}: " + ", ".join(f"{name} {value:.4g}" for name, value in tried[scale].items()))
    best = min(tried, key=lambda scale: tried[scale]["fid"])
    if out.resolve() != folder.resolve():
        shutil.copytree(folder, out, dirs_exist_ok=True)
    write_tensors(out / "generator.safetensors", widened(generator, best).state_dict(), half=True)
    (out / "evaluation.json").unlink(missing_ok=True)
    how = json.loads((out / "how.json").read_text()) if (out / "how.json").is_file() else {}
    command = f"python -m reference_models.dmgan.widening --model {folder} --out {out}"
    how["commands"] = [*how.get("commands", []), command]
    how["sha256"] = {path.name: sha256(path) for path in sorted(out.glob("*.safetensors"))}
    how["noise"] = {"scale": best, "tried": {f"{scale:g}": values for scale, values in tried.items()}}
    with write_atomically(out / "how.json") as temporary:
        temporary.write_text(json.dumps(how, indent=1) + "\n")
    return how["noise"]


def main(argv: list[str]) -> int:
    """Parse ``argv``, choose a width, write."""
    parser = argparse.ArgumentParser(prog="widening", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a folder that `shipping` wrote")
    parser.add_argument("--out", type=Path, required=True, help="may be the same")
    parser.add_argument("--scales", type=float, nargs="+", default=list(SCALES), help="widths to choose from")
    parser.add_argument("--count", type=int, default=5_000, help="images drawn a width")
    parser.add_argument("--threads", type=int, help="CPU threads")
    options = parser.parse_args(argv)
    set_threads(options.threads)
    score = scorer(options.model, options.count, print)
    noise = widen_model(options.model, options.out, score, scales=options.scales, say=print)
    print(f"wrote {options.out}: noise x {noise['scale']:g}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run("widening", main, sys.argv[1:]))
