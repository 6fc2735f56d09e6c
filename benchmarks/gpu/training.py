"""Training the shipped model on, in as many short visits to a GPU as there are: speed, losses, memory, a grid.

A run goes on where an earlier call stopped. Between machines its checkpoint travels in pieces of at most 16 MB, and its
log beside them; without minutes it is only made whole again, with the folder to evaluate and to ship from::

    python3 -m benchmarks.gpu.training --minutes 8 --run runs/visits --pieces OUT
    python3 -m benchmarks.gpu.training --minutes 8 --run runs/visits --pieces OUT --from PIECES
    python -m benchmarks.gpu.training --minutes 0 --run runs/visits --from PIECES --device cpu
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.gpu.pieces import cut, put_together
from reference_models.dmgan import command_line
from reference_models.dmgan.config import Config
from reference_models.dmgan.data.open import open_dataset
from reference_models.dmgan.training.checkpoint import checkpoints
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import (
    load_encoders,
    save_model,
    starting_networks,
    write_origin,
)

SHIPPED = Path(__file__).parents[2] / "reference_models" / "dmgan" / "weights" / "birds_demo"


def config(*, tiny: bool) -> Config:
    """The shipped model's, with a larger batch and more readers; ``tiny``: what a rehearsal on a CPU is quick with."""
    shipped = Config.from_dict(json.loads((SHIPPED / "config.json").read_text()))
    train = replace(shipped.train, batch_size=8 if tiny else 64, log_every=1 if tiny else 10)
    train = replace(train, checkpoint_every=10**9, sample_every=10**9 if tiny else 200, images=10**7)
    data = replace(shipped.data, workers=0 if tiny else 12, images=40 if tiny else shipped.data.images)
    return replace(shipped, data=data, train=train)


def begin(run: Path, chosen: Config, device: str, brought: Path | None) -> Trainer:
    """The run of ``run``, or the one whose pieces were ``brought``, or a new one from the shipped networks.

    Raises:
        FileNotFoundError: ``brought`` holds no checkpoint, or not all of its pieces.
    """
    if brought is not None:
        whole = put_together(brought, run / "checkpoints")
        if not whole:
            raise FileNotFoundError(f"{brought} holds no piece of a checkpoint")
        if checkpoints(run / "checkpoints")[-1] in whole:  # else the run is here already, and further
            shutil.copy(brought / "log.jsonl", run / "log.jsonl")
    write_origin(run, SHIPPED)
    images = open_dataset(chosen.data, "train", size=chosen.generator.sizes[-1])
    encoders, start = load_encoders(SHIPPED, chosen), starting_networks(SHIPPED, chosen)
    trainer = Trainer(chosen, images, encoders, run, device=device, start_from=start, quiet=True)
    trainer.resume()
    return trainer


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=0.75)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--from", type=Path, dest="brought", help="folder of pieces of a checkpoint to go on from"
    )
    parser.add_argument("--pieces", type=Path, help="folder for the pieces of the checkpoint at the end")
    parser.add_argument("--grid", type=Path, help="where to write what the fixed captions look like now")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: few images, small batches")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    trainer = begin(arguments.run, config(tiny=arguments.tiny), arguments.device, arguments.brought)
    begun = trainer.step
    if arguments.minutes > 0:
        trainer.run(minutes=arguments.minutes)
    else:
        nets = trainer.networks
        save_model(
            arguments.run / "export",
            trainer.config,
            nets.average.module,
            trainer.encoders,
            nets.discriminators,
        )
    if arguments.pieces is not None:
        cut(checkpoints(arguments.run / "checkpoints")[-1], arguments.pieces)
        shutil.copy(arguments.run / "log.jsonl", arguments.pieces)
    if arguments.grid is not None:
        trainer.grid.write(trainer.networks.average.module, arguments.grid)
    lines = [json.loads(line) for line in (arguments.run / "log.jsonl").read_text().splitlines()]
    found = {
        "begun at": begun,
        "steps": trainer.step,
        "batch": trainer.config.train.batch_size,
        "precision": trainer.config.train.precision,
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
    sys.exit(command_line.run("training", main, sys.argv[1:]))
