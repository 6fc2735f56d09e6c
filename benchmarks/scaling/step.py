"""One process's part of the scaling benchmark: adversarial steps on a fixed batch, timed and their exchange counted.

Alone or under ``torchrun``; :mod:`benchmarks.scaling.run` starts it. The first process prints one JSON line::

    python -m benchmarks.scaling.step --config birds_demo --batch 32 --steps 10
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from reference_models.dmgan.config import Config, named
from reference_models.dmgan.data.batch import Batch
from reference_models.dmgan.discriminator import build_discriminators
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.image_encoder import build_image_encoder
from reference_models.dmgan.initialisation import initialise
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.distributed import World, all_objects, join, leave
from reference_models.dmgan.training.ema import ExponentialMovingAverage
from reference_models.dmgan.training.step import AdversarialStep, Networks
from reference_models.dmgan.training.weights import Encoders

WORDS = 300  # a vocabulary's size: it changes nothing that is timed here


def random_batch(config: Config, size: int, seed: int) -> Batch:
    """Noise for images, and captions of 5 to ``data.max_words`` words: what is in them does not change the time."""
    made = torch.Generator().manual_seed(seed)
    longest = config.data.max_words
    lengths = torch.randint(5, longest + 1, (size,), generator=made)
    captions = torch.randint(1, WORDS, (size, longest), generator=made)
    return Batch(
        images=tuple(torch.rand(size, 3, s, s, generator=made) * 2 - 1 for s in config.generator.sizes),
        captions=captions.masked_fill(torch.arange(longest) >= lengths[:, None], 0),
        lengths=lengths,
        class_ids=torch.randint(0, 150, (size,), generator=made),
        wrong_index=(torch.arange(size) + 1) % size,
        texts=("",) * size,
        keys=tuple(map(str, range(size))),
    )


def networks(config: Config, device: torch.device) -> Networks:
    """Fresh networks, the same on every rank."""
    torch.manual_seed(0)
    layout: dict[str, Any] = {"device": device, "memory_format": torch.channels_last}
    generator = initialise(Generator(config.generator)).to(**layout).train()
    discriminators = initialise(build_discriminators(config)).to(**layout).train()
    text = TextEncoder(WORDS, config.text).to(device).eval().requires_grad_(False)
    image = build_image_encoder(config).to(**layout).eval().requires_grad_(False)
    average = ExponentialMovingAverage(generator, config.train.ema_decay)
    return Networks(generator, discriminators, average, Encoders(text, image, None))  # type: ignore[arg-type]


def loopback_bytes() -> int:
    """Bytes that have passed between processes of this machine; 0 where the system does not say."""
    path = Path("/proc/net/dev")
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


def measure(config: Config, world: World, device: torch.device, batch: int, steps: int) -> dict[str, Any]:
    """Medians over ``steps`` steps of ``batch`` images in this process, after two to warm up."""
    update = AdversarialStep(networks(config, device), config, device, world)
    data = random_batch(config, batch, seed=world.rank).to(device)
    noise = torch.randn(batch, config.generator.noise_dim, device=device)
    condition = torch.randn(batch, config.generator.condition_dim, device=device)
    wall, cpu, exchanged = list[float](), list[float](), list[int]()
    for step in range(-2, steps):
        if world.size > 1:
            dist.barrier()
        before, began, worked = loopback_bytes(), time.perf_counter(), time.process_time()
        losses, _ = update(data, noise, condition)
        losses.floats()  # waits for the device
        if step >= 0:
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - worked)
            exchanged.append(loopback_bytes() - before)
    nets = update.networks
    return {
        "config": config.name,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": config.train.precision,
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "batch_per_process": batch,
        "step_seconds": statistics.median(wall),
        "cpu_seconds": statistics.mean(all_objects(world, statistics.median(cpu))),
        "loopback_bytes": int(statistics.median(exchanged)),
        "gradient_bytes": 4
        * sum(p.numel() for net in (nets.generator, nets.discriminators) for p in net.parameters()),
    }


def main() -> None:
    """Measure and, on the first process, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="birds_demo")
    parser.add_argument("--batch", type=int, default=32, help="images of each process")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    world, device = join(options.device)
    try:
        found = measure(named(options.config), world, device, options.batch, options.steps)
    finally:
        leave()
    if world.first:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
