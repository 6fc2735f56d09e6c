"""Stored results → the tables of docs/scaling.md: what was measured, and what larger runs would take, on paper.

::

    python -m benchmarks.scaling.publish
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_models.dmgan.pages import fill, markdown

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "scaling.md"

# Assumed, not measured: they stand on the page too.
FLOP_A_SECOND = 50e12  # of a GPU, sustained: a twentieth of what an H100 does on dense bf16 products
INSIDE = 200e9  # bytes a second and GPU, between GPUs of one machine
BETWEEN = 25e9  # bytes a second and GPU, between machines
GPUS_A_MACHINE = 8
IMAGES_A_GPU = 16
KILOBYTES_AN_IMAGE = 40  # a JPEG of 304 pixels in a shard
IMAGES_A_CORE = 250  # read, decoded and scaled in a second

GPUS = (1, 8, 32, 64, 256)
RUNS = {  # images that training sees, and whose sizes
    "CUB": (8_855 * 600, "cub"),
    "COCO": (82_783 * 120, "coco"),
    "web": (100_000_000 * 10, "coco"),
}


@dataclass(frozen=True)
class Step:
    """One step of ``gpus`` GPUs, seconds, bytes and images."""

    compute: float
    exchange: float
    received: float
    images: int

    @property
    def images_a_second(self) -> float:
        """Nothing of the exchange is hidden behind the arithmetic: DistributedDataParallel hides most of it."""
        return self.images / (self.compute + self.exchange)


def step(gpus: int, sizes: dict[str, Any]) -> Step:
    """From the sizes of a configuration, as ``benchmarks.scaling.run`` counts them."""
    images = gpus * IMAGES_A_GPU
    flop = IMAGES_A_GPU * (1e9 * sizes["gigaflop_an_image"] + images * 1e6 * sizes["damsm_megaflop_a_pair"])
    others = (gpus - 1) / gpus
    gradients = 2 * others * 1e6 * sizes["gradient_megabytes"]  # a ring adds up, then passes round
    words = others * images * 1e3 * sizes["word_kilobytes_an_image"]
    scores = others * images**2 * 2 * 4
    received = gradients + words + scores
    return Step(
        flop / FLOP_A_SECOND, received / (INSIDE if gpus <= GPUS_A_MACHINE else BETWEEN), received, images
    )


def measured_table(result: dict[str, Any]) -> str:
    """What one and two processes took."""
    body = [
        [
            f"{row['processes']} × {row['batch_per_process']}",
            f"{row['step_seconds']:.2f}",
            f"{row['cpu_seconds']:.2f}",
            f"{1e3 * row['cpu_seconds'] / row['batch_per_process']:.0f}",
            f"{row['loopback_bytes'] / 1e6:.1f}",
            f"{row['gradient_bytes'] / 1e6:.1f}",
        ]
        for row in result["steps"]
    ]
    head = [
        "processes × images",
        "s a step",
        "s of CPU a process",
        "ms of CPU an image",
        "MB exchanged",
        "MB of gradients",
    ]
    busy = result["load"] > 0.75 * result["cores"]
    made = (
        f"`{result['steps'][0]['config']}`, {result['steps'][0]['precision']}, {result['machine']}, "
        f"{result['cores']} cores, one thread a process, torch {result['torch']}, commit {result['commit']}, "
        f"{result['time'][:10]}; load average before {result['load']:.1f}"
        f"{': the machine had other work, and the times of a step say little' if busy else ''}."
    )
    return f"{markdown(head, body)}\n\n{made}"


def sizes_table(result: dict[str, Any]) -> str:
    """What the estimates are made from; counted, not timed."""
    head = ["configuration", "parameters, millions", "MB of gradients", "GFLOP an image", "MFLOP a pair"]
    body = [
        [
            f"`{row['config']}`",
            f"{sum(row['parameters'].values()) / 1e6:.1f}",
            f"{row['gradient_megabytes']:.1f}",
            f"{row['gigaflop_an_image']:.1f}",
            f"{row['damsm_megaflop_a_pair']:.1f}",
        ]
        for row in result["sizes"]
    ]
    return markdown(head, body)


def paper_table(result: dict[str, Any]) -> str:
    """What larger runs would take."""
    by_name = {row["config"]: row for row in result["sizes"]}
    head = [
        "run",
        "GPUs",
        "batch",
        "ms to compute",
        "ms to exchange",
        "images/s",
        "time",
        "GB/s read",
        "cores",
    ]
    body = []
    for run, (images, config) in RUNS.items():
        for gpus in GPUS:
            one = step(gpus, by_name[config])
            rate = one.images_a_second
            body.append(
                [
                    run if gpus == GPUS[0] else "",
                    str(gpus),
                    f"{one.images:,}",
                    f"{1e3 * one.compute:.0f}",
                    f"{1e3 * one.exchange:.1f}",
                    f"{rate:,.0f}",
                    _time(images / rate),
                    f"{rate * KILOBYTES_AN_IMAGE / 1e6:.2f}",
                    f"{rate / IMAGES_A_CORE:.0f}",
                ]
            )
    return markdown(head, body)


def _time(seconds: float) -> str:
    hours = seconds / 3600
    return (
        f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
    )


def publish(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Fill the page from the measurement on a CPU."""
    result = json.loads((results / "scaling_cpu.json").read_text())
    fill(page, "measured", measured_table(result))
    fill(page, "sizes", sizes_table(result))
    fill(page, "paper", paper_table(result))


if __name__ == "__main__":
    publish()
