"""compute-sanitizer's four tools on every CUDA kernel, forward and backward, in programs without torch.

Under torch a tool has thousands of kernels to look through before ours begin, and takes minutes. The programs are those
that the emulator's tests run, compiled by nvcc, one a dtype; a call without a tool comes first, whose results are held
against the definition.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import torch

from tests.backends.native.emulator import driver
from tests.backends.native.emulator.__main__ import all_cases
from tests.backends.native.emulator.checks import dtype_of, wrong
from tests.backends.native.emulator.driver import Case
from tests.backends.native.emulator.plain_case import PlainCase
from tests.backends.native.inputs import Inputs

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
STORED = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "Bf16", torch.float16: "Half"}
AT_MOST = 120  # seconds of a tool


def cases() -> dict[torch.dtype, list[Case | PlainCase]]:
    """What the emulator's sanitizers run, and the kernels of eight warps, by dtype."""
    found: dict[torch.dtype, list[Case | PlainCase]] = {dtype: [] for dtype in STORED}
    for case in all_cases():
        found[dtype_of(case)].append(case)
    for channels, words in ((64, 77), (100, 20), (128, 77)):
        for dtype, tf32 in ((torch.bfloat16, False), (torch.float32, True), (torch.float32, False)):
            inputs = Inputs.random(1, channels, 9, 24, words, dtype=dtype)
            inputs.scale = channels**-0.5
            found[dtype].append(Case("memory_refine", inputs, tf32=tf32))
    return found


def called(words: Iterable[str]) -> tuple[int | None, str, float]:
    """Exit status (None: it did not end), what was said, seconds."""
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [*words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=AT_MOST,
        )
        status, said = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        status, said = None, f"did not end\n{(late.stdout or b'').decode(errors='replace')}"
    return status, said, round(time.monotonic() - begun, 1)


def watch(tool: str, program: Path, folders: list[Path]) -> dict[str, Any]:
    """What one tool found in one program."""
    words = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", str(program), *map(str, folders)]
    status, said, seconds = called(words)
    return {
        "exit": status,
        "summary": re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY: .*$", said, re.MULTILINE),
        "cases": len(folders),
        "seconds": seconds,
        "said": said[-3000:] if status != 0 else "",
    }


def plain(program: Path, given: list[Case | PlainCase], folders: list[Path]) -> dict[str, Any]:
    """The program by itself, and which of its results are wrong."""
    status, said, seconds = called([str(program), *map(str, folders)])
    told = {"exit": status, "cases": len(folders), "seconds": seconds, "said": said[-3000:]}
    if status == 0:
        told["wrong"] = [
            f"case {i}, {text}" for i, case in enumerate(given) for text in wrong(case, folders[i])
        ]
    return told


def run(programs: dict[torch.dtype, Path], folder: Path, tools: Iterable[str]) -> dict[str, Any]:
    """Every program by itself, then under every tool, as many at once as there are tools: ``tool, dtype`` → found."""
    found: dict[str, Any] = {}
    places: dict[torch.dtype, list[Path]] = {}
    for dtype, given in cases().items():
        if dtype not in programs:
            continue
        places[dtype] = [folder / f"{STORED[dtype]}_{i}" for i in range(len(given))]
        for case, place in zip(given, places[dtype]):
            case.write(place)
        found[f"by itself, {STORED[dtype]}"] = plain(programs[dtype], given, places[dtype])
    pairs = list(product(tools, places))
    with ThreadPoolExecutor(len(TOOLS)) as pool:
        answers = pool.map(lambda pair: watch(pair[0], programs[pair[1]], places[pair[1]]), pairs)
        found |= {f"{tool}, {STORED[dtype]}": answer for (tool, dtype), answer in zip(pairs, answers)}
    return found


def clean(found: dict[str, Any]) -> bool:
    """Every program ended, right, and no tool objects."""
    return all(
        answer["exit"] == 0 and not answer.get("wrong") and answer.get("summary") != []
        for answer in found.values()
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.backends.native.emulator.compute_sanitizer", description=__doc__
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: emulated, float32 alone"
    )
    parser.add_argument("--only", choices=TOOLS, nargs="*", default=list(TOOLS), help="default: all four")
    parser.add_argument(
        "--programs", type=Path, help="folder of programs that are there already, or are kept there"
    )
    parser.add_argument("--compile", action="store_true", help="compile the programs, and run nothing")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.programs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        programs = compiled(folder, arguments.device)
        if arguments.compile:
            return 0
        found = run(programs, Path(temporary), arguments.only)
    told = json.dumps(found, indent=1)
    print(told)
    if arguments.json is not None:
        arguments.json.write_text(told)
    return int(not clean(found))


def compiled(folder: Path, device: str) -> dict[torch.dtype, Path]:
    """The programs, those that ``folder`` does not hold yet compiled all at once."""
    if device == "cpu":
        return {torch.float32: driver.compiled(folder, "-DONLY=float")}
    with ThreadPoolExecutor(len(STORED)) as pool:
        programs = pool.map(lambda stored: driver.compiled_for_gpu(folder, stored), STORED.values())
        return dict(zip(STORED, programs))


if __name__ == "__main__":
    sys.exit(main())
