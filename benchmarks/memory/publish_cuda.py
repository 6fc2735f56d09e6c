"""Stored results of a GPU → the tables of docs/kernels_cuda.md: percent of the floor, times of the others, builds.

::

    python -m benchmarks.memory.publish_cuda
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.memory import layer
from benchmarks.memory.cases import MODES, OURS
from benchmarks.memory.publish import RESULTS
from reference_models.dmgan.pages import fill, markdown

PAGE = Path(__file__).parents[2] / "docs" / "kernels_cuda.md"
Row = dict[str, Any]
# Percent of the floor that is asked, by mode and dtype; the sizes that it is asked for.
ASKED = {
    ("forward", "bfloat16"): 80, ("forward", "tf32"): 80, ("forward", "float32"): 80,
    ("backward", "bfloat16"): 70, ("backward", "tf32"): 70, ("backward", "float32"): 60,
}  # fmt: skip
SIZES = ("64*64", "128*128")
# How many times the kernels' time others are to take: forward and backward of the op, and of the layer in any mode.
TIMES_ASKED = {"definition, eager": 8, "definition, torch.compile": 3}
TIMES_ASKED_OF_LAYER = 4
OTHERS = {
    "definition, eager": "eager",
    "definition, torch.compile": "compile",
    "released formulation": "release",
    "SDPA + gate": "SDPA",
}


def publish(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Fill the page from every ``memory_cuda_*.jsonl`` and, behind its commit, ``builds_cuda_*.jsonl``."""
    parts = []
    for path in sorted(results.glob("memory_cuda_*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        parts += [provenance(path, rows[0]), times_table(rows), layer_table(rows)]
        builds = results / path.name.replace("memory", "builds", 1)
        if builds.is_file():
            parts += builds_table(rows, [json.loads(line) for line in builds.read_text().splitlines()])
    fill(page, "measured on a GPU", "\n\n".join(parts))


def provenance(path: Path, row: Row) -> str:
    """What made the numbers."""
    return (
        f"**`{path.name}`**: {row['gpu']}, driver {row['driver']}, torch {row['torch']}, kernels for sm_"
        f"{row['cuda kernels']}, commit {row['commit']}, {row['time'][:10]}. 64 images, 18 words (CLIP-like: 77, and "
        "128 channels), cold L2, graph replay, medians in µs; in brackets percent of the floor, which is the time of "
        "as many bytes at the rate of a copy of the same size, or of the arithmetic at the rate of a large product. "
        "The others (SDPA with a gate): how many times the kernel's time, forward and backward together. Bold: less "
        f"than was asked, {TIMES_ASKED['definition, eager']} of eager, {TIMES_ASKED['definition, torch.compile']} of "
        f"compile and, of the layer as a whole, {TIMES_ASKED_OF_LAYER}."
    )


def times_table(rows: list[Row]) -> str:
    """Of each size and dtype: the kernel's times, and the others' as multiples, forward and backward together."""
    found = {
        (row["case"]["name"], row["case"]["dtype"], row["mode"], row["provider"]): row
        for row in rows
        if row["mode"] in MODES
    }
    body = []
    for name, dtype in dict.fromkeys(key[:2] for key in found):
        ours = [_time(found[name, dtype, mode, OURS]) for mode in MODES[:3]]
        cells = []
        for other in OTHERS:
            row = found.get((name, dtype, "forward+backward", other))
            cells.append("" if row is None else _times(row, TIMES_ASKED.get(other, 0)))
        body.append([_size(name), dtype, *ours, *cells])
    return markdown(["size", "dtype", *MODES[:2], "both", *OTHERS.values()], body)


def _size(name: str) -> str:
    return name.replace("*", "\u00a0×\u00a0").replace("CLIP-like 64", "CLIP-like, 64")


def _time(row: Row) -> str:
    percent = row["percent_of_floor"]
    asked = ASKED.get((row["mode"], row["case"]["dtype"])) if row["case"]["name"] in SIZES else None
    told = f"{percent:.0f}\u00a0%" if asked is None or percent >= asked else f"**{percent:.0f}\u00a0%**"
    return f"{1e3 * row['median_ms']:.0f}\u00a0({told})"


def _times(row: Row, asked: float) -> str:
    told = f"{row['times_ours']:.1f}"
    return told if row["times_ours"] >= asked or row["case"]["name"] not in SIZES else f"**{told}**"


def layer_table(rows: list[Row]) -> str:
    """``DynamicMemory`` as a whole beside the definition."""
    found = {(row["case"]["name"], row["case"]["dtype"], row["mode"], row["provider"]): row for row in rows}
    body = []
    for name, dtype in dict.fromkeys(key[:2] for key in found):
        cells = []
        for mode in layer.MODES:
            ours, other = (found.get((name, dtype, mode, who)) for who in layer.PROVIDERS)
            if ours is None or other is None:
                continue
            cells += [f"{1e3 * ours['median_ms']:.0f}", _times(other, TIMES_ASKED_OF_LAYER)]
        if cells:
            body.append([_size(name), dtype, *cells])
    head = ["`DynamicMemory`", "dtype", "forward, µs", "eager", "forward + backward, µs", "eager"]
    return markdown(head, body)


def builds_table(rows: list[Row], builds: list[Row]) -> list[str]:
    """Libraries of several commits in one call, and the last one's percent of the floor that ``rows`` know."""
    floors = {
        f"{row['case']['name']}, {row['case']['dtype']}, {row['mode']}": row["percent_of_floor"]
        * row["median_ms"]
        * 10
        for row in rows
        if row["provider"] == OURS and "percent_of_floor" in row
    }
    last, body = builds[-1]["us"], []
    for name, taken in last.items():
        size, dtype, mode = name.split(", ")
        asked = ASKED.get((mode, dtype)) if size in SIZES else None
        percent = 100 * floors[name] / taken
        told = f"{percent:.0f} %"
        told = told if asked is None or percent >= asked else f"**{told}**"
        cells = [f"{each['us'][name]:.0f}" for each in builds]
        body.append([_size(size), dtype, mode, *cells, told, f"{asked} %" if asked else ""])
    said = (
        f"The same of later builds, in one call on {builds[-1]['gpu']}, {builds[-1]['time'][:10]}, medians in µs; "
        "percent of the floor by the rates of the table above:"
    )
    head = [
        "size",
        "dtype",
        "mode",
        *(f"commit {each['commit']}" for each in builds),
        "of the floor",
        "asked",
    ]
    return [said, markdown(head, body)]


if __name__ == "__main__":
    publish()
