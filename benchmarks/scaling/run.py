"""How a step scales from one process to two: times, bytes exchanged, and the sizes that larger runs follow from.

::

    python -m benchmarks.scaling.run                   # CPU, gloo: 1 process, 2 halves of its batch, 2 whole batches
    python -m benchmarks.scaling.run --device cuda --processes 8 --config birds_full

The three settings alternate, round after round, so that what else the machine does meets all alike; compare within
one result file. ``cpu_seconds`` is what a process itself computed, and does not count waiting.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import memgan
from benchmarks.common.facts import facts
from benchmarks.scaling.step import random_batch
from reference_models.dmgan.config import Config, named
from reference_models.dmgan.discriminator import build_discriminators
from reference_models.dmgan.flops import count_flops
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.image_encoder import InceptionImageEncoder, build_image_encoder
from reference_models.dmgan.losses import discriminator_logits
from reference_models.dmgan.training.damsm import words_similarity

ROOT = Path(__file__).parents[2]


def one(config: str, processes: int, batch: int, steps: int, device: str) -> dict[str, Any]:
    """Start ``processes`` and read what the first prints."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    start += ["-m", "benchmarks.scaling.step", "--config", config, "--device", device]
    done = subprocess.run(
        [*start, "--batch", str(batch), "--steps", str(steps)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def merged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds of one setting."""
    result = dict(rows[0])
    for name in ("step_seconds", "cpu_seconds", "loopback_bytes"):
        result[name] = round(statistics.median(row[name] for row in rows), 4)
    return result | {"rounds": [round(row["step_seconds"], 4) for row in rows]}


def sizes(config: Config) -> dict[str, Any]:
    """Parameters, and floating point operations an image of one update; nothing is computed."""
    with FakeTensorMode(), memgan.use_backend("reference"):
        generator, discriminators = Generator(config.generator), build_discriminators(config)
        inception = config.image_encoder.kind == "inception"
        image = InceptionImageEncoder(config.text.word_dim) if inception else build_image_encoder(config)
        image.eval().requires_grad_(False)
        count, settings = 2, config.generator
        batch = random_batch(config, count, seed=0)
        sentence = torch.randn(count, settings.word_dim)
        words = torch.randn(count, config.data.max_words, settings.word_dim)
        noise, condition = torch.randn(count, settings.noise_dim), torch.randn(count, settings.condition_dim)
        with count_flops() as counted:
            output = generator(noise, sentence, words, None, condition_noise=condition)
            for net, real, fake in zip(discriminators, batch.images, output.images):
                logits = discriminator_logits(net, real, fake.detach(), sentence, batch.wrong_index)
                sum(part.sum() for part in logits).backward()
            discriminators.requires_grad_(False)
            total = sum(
                sum(part.sum() for part in net(fake, sentence))
                for net, fake in zip(discriminators, output.images)
            )
            regions, code = image(output.images[-1])
            (total + regions.sum() + code.sum()).backward()
        with count_flops() as pairs:
            leaf = torch.randn(regions.shape, requires_grad=True)
            words_similarity(
                leaf, words, torch.ones(words.shape[:2], dtype=torch.bool), 4.0, 5.0
            ).sum().backward()
    numbers = {"generator": generator, "discriminators": discriminators}
    parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in numbers.items()}
    return {
        "config": config.name,
        "parameters": parameters,
        "gradient_megabytes": round(4e-6 * sum(parameters.values()), 1),
        "region_kilobytes_an_image": round(4e-3 * regions[0].numel(), 1),
        "word_kilobytes_an_image": round(4e-3 * words[0].numel(), 1),
        "gigaflop_an_image": round(counted.get_total_flops() / count / 1e9, 1),
        "damsm_megaflop_a_pair": round(pairs.get_total_flops() / count**2 / 1e6, 2),
        "damsm_kilobytes_a_pair": round(4e-3 * config.data.max_words * regions[0, 0].numel(), 1),
    }


def main() -> None:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="birds_demo")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    before = facts()  # the load is of others
    settings = [
        (1, options.batch),
        (options.processes, options.batch // options.processes),
        (options.processes, options.batch),
    ]
    computed = [sizes(config) for config in map(named, ("birds_demo", "birds_full", "cub", "coco"))]
    found: list[list[dict[str, Any]]] = [[] for _ in settings]
    for _ in range(options.rounds):
        for rows, (processes, batch) in zip(found, settings):
            rows.append(one(options.config, processes, batch, options.steps, options.device))
    result = {**before, "steps": [merged(rows) for rows in found], "sizes": computed}
    out = options.out or ROOT / "benchmarks" / "results" / f"scaling_{options.device}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    for row in result["steps"]:
        print(
            f"{row['processes']} x {row['batch_per_process']} images: {row['step_seconds']:.2f} s a step, "
            f"{row['cpu_seconds']:.2f} s of CPU a process, {row['loopback_bytes'] / 1e6:.1f} MB exchanged"
        )
    for row in result["sizes"]:
        print(row)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
