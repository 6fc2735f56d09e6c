"""A short training on the embedded birds that goes on where an earlier call stopped: speed, losses, memory, a grid."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from reference_models.dmgan.config import Config
from reference_models.dmgan.data.open import open_dataset
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import load_encoders

SHIPPED = Path(__file__).parents[2] / "reference_models" / "dmgan" / "weights" / "birds_demo"


def config(device: str) -> Config:
    """The demo's run, whose encoders lie in the repository; on a GPU with a larger batch and more readers."""
    shipped = Config.from_dict(json.loads((SHIPPED / "config.json").read_text()))
    on_gpu = device == "cuda"
    train = replace(shipped.train, batch_size=64 if on_gpu else 4, log_every=10 if on_gpu else 1)
    train = replace(train, checkpoint_every=10**9, sample_every=200 if on_gpu else 10**9, images=10**7)
    data = replace(shipped.data, workers=12 if on_gpu else 0, images=shipped.data.images if on_gpu else 40)
    return replace(shipped, data=data, train=train)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.training", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.75)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--grid", type=Path, help="where to write what the fixed captions look like now")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = config(arguments.device)
    images = open_dataset(chosen.data, "train", size=chosen.generator.sizes[-1])
    trainer = Trainer(
        chosen, images, load_encoders(SHIPPED, chosen), arguments.run, device=arguments.device, quiet=True
    )
    resumed = trainer.resume()
    trainer.run(minutes=arguments.minutes)
    if arguments.grid is not None:
        trainer.grid.write(trainer.networks.average.module, arguments.grid)
    lines = [json.loads(line) for line in (arguments.run / "log.jsonl").read_text().splitlines()]
    found = {
        "resumed": resumed,
        "steps": trainer.step,
        "batch": chosen.train.batch_size,
        "precision": chosen.train.precision,
        "first": lines[0],
        "last": lines[-1],
        "peak memory": torch.cuda.max_memory_allocated() if arguments.device == "cuda" else None,
    }
    told = json.dumps(found, indent=1)
    print(told)
    if arguments.json is not None:
        arguments.json.write_text(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
