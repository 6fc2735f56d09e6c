"""Make the folder that ships from a run's: BatchNorm's statistics measured, half the bytes, log, how it came about.

::

    python -m reference_models.dmgan.shipping --run runs/birds --out reference_models/dmgan/weights/birds_demo

A run keeps running statistics of the weights that train, and the generator that is drawn with is their average: its
own statistics are measured here, over fresh captions and noise. Matrices are stored as float16. The scores that go
along must be those of the stored weights: run ``evaluate --model OUT --out OUT/evaluation.json`` afterwards.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from reference_models.dmgan.command_line import run
from reference_models.dmgan.config import CONFIGS, Config
from reference_models.dmgan.data.batch import CaptionedImages, collate
from reference_models.dmgan.data.open import open_dataset
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.files import write_atomically
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.training.log import read_log
from reference_models.dmgan.training.weights import (
    Encoders,
    load_discriminators,
    load_encoders,
    load_generator,
    model_folder,
    read_config,
    read_origin,
    save_model,
)

LINES = 400  # of the log that are kept, spread over the run
BATCHES, BATCH = 30, 64  # that statistics are measured over


@torch.no_grad()
def measure_statistics(generator: Generator, encoders: Encoders, images: CaptionedImages) -> None:
    """Replace BatchNorm's running statistics by means over ``BATCHES`` batches of captions of ``images``."""
    norms = [module for module in generator.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
    settings, noise, rng = generator.config, torch.Generator().manual_seed(0), np.random.default_rng(0)
    generator.train()
    for _ in range(BATCHES):
        chosen = rng.integers(len(images), size=BATCH)
        batch = collate([images.item(int(index), rng, train=True) for index in chosen], settings.sizes)
        words, sentence = encoders.text(batch.captions, batch.lengths)
        generator(
            torch.randn(BATCH, settings.noise_dim, generator=noise),
            sentence,
            words,
            batch.word_mask[:, : words.shape[1]],
            condition_noise=torch.randn(BATCH, settings.condition_dim, generator=noise),
        )
    generator.eval()
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def ship(run: Path, out: Path) -> Path:
    """Write ``run``'s averaged generator, encoders and discriminators to ``out``, with log and ``how.json``."""
    folder = model_folder(run)
    config = read_config(folder)
    generator, encoders = load_generator(folder, config), load_encoders(folder, config)
    measure_statistics(
        generator, encoders, open_dataset(config.data, "train", size=config.generator.sizes[-1])
    )
    save_model(
        out,
        config,
        generator,
        encoders,
        load_discriminators(folder, config),
        half=True,
    )
    own, origin = _going_forward(read_log(run / "log.jsonl")), read_origin(run) or {}
    if not own:
        raise CheckpointError(f"{run / 'log.jsonl'} holds no line")
    log = _one_after_the_other(origin.pop("log", []), own)
    with write_atomically(out / "training_log.jsonl") as temporary:
        kept = log[:: max(1, len(log) // LINES)]
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
    how = {
        "commands": commands_of(config, run, out, origin.get("folder")),
        "images": own[-1]["images"],
        "images_in_all": log[-1]["images"],
        "steps": own[-1]["step"],
        "seconds": seconds_of(read_log(run / "log.jsonl")),
        "configuration": config.digest(),
        "sha256": {path.name: sha256(path) for path in sorted(out.glob("*.safetensors"))},
        "started_from": origin or None,
    }
    with write_atomically(out / "how.json") as temporary:
        temporary.write_text(json.dumps(how, indent=1) + "\n")
    return out


def commands_of(config: Config, run: Path, out: Path, start: str | None) -> list[str]:
    """What was typed, up to names of folders: training with every field that is not the configuration's, shipping."""
    usual = CONFIGS[config.name]().to_dict() if config.name in CONFIGS else {}
    changed = [
        _option(section, name.replace("_", "-"), value)
        for section, values in config.to_dict().items()
        if isinstance(values, dict)
        for name, value in values.items()
        if usual and usual[section][name] != value
    ]
    begun = f"--start-from {start}" if start else "--encoders runs/damsm"
    train = ["train", "--config", config.name, *changed, begun, "--out", str(run)]
    return [
        "python -m reference_models.dmgan " + " ".join(train),
        f"python -m reference_models.dmgan.shipping --run {run} --out {out}",
    ]


def _option(section: str, name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{section}.{name}" if value else f"--{section}.no-{name}"
    values = value if isinstance(value, list | tuple) else [value]
    return f"--{section}.{name} {shlex.join(map(str, values))}"


def seconds_of(log: list[dict]) -> float:
    """How long a run trained: the log of each process that went on with it counts from its own start."""
    seconds = [float(line.get("seconds", 0.0)) for line in log]
    ends = [one for one, two in zip(seconds, seconds[1:]) if two < one]
    return round(sum(ends) + seconds[-1], 1)


def _going_forward(log: list[dict]) -> list[dict]:
    """The log without what a resumed run did again: of each step the last line."""
    by_step = {line["step"]: line for line in log}
    return [by_step[step] for step in sorted(by_step)]


def _one_after_the_other(before: list[dict], after: list[dict]) -> list[dict]:
    """Two logs as one: steps and images of ``after`` count on from the end of ``before``."""
    counted = {name: before[-1][name] for name in ("step", "images")} if before else {}
    return before + [line | {name: line[name] + count for name, count in counted.items()} for line in after]


def main(argv: list[str]) -> int:
    """Parse ``argv`` and ship."""
    parser = argparse.ArgumentParser(prog="shipping", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    out = ship(options.run, options.out)
    total = sum(path.stat().st_size for path in out.iterdir())
    print(f"wrote {out}, {total / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(run("shipping", main, sys.argv[1:]))
