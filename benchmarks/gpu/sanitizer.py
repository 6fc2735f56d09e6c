"""compute-sanitizer's four tools on one call of every kernel, all four at once.

Each allocation is one of the driver's, so that an access outside of a tensor is seen.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SECONDS = 170  # of a tool


def watch(tool: str, device: str, *filters: str) -> dict[str, Any]:
    """What one tool found, or that it did not end."""
    command = ["compute-sanitizer", "--tool", tool, *filters, "--error-exitcode", "9"]
    command += [sys.executable, "-m", "benchmarks.gpu.check", "--small", "--device", device]
    variables = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")[-3000:]
        return {"exit": None, "summary": [], "seconds": SECONDS, "said": f"did not end\n{said}"}
    told = re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY: .*$", done.stdout, re.MULTILINE)
    if filters and not told:  # a version that does not know the filter looks at all kernels
        return watch(tool, device)
    return {
        "exit": done.returncode,
        "summary": told,
        "seconds": round(time.monotonic() - begun, 1),
        "said": done.stdout[-3000:] if done.returncode else "",
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.sanitizer", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    ours = ("--kernel-name", "kernel_substring=memgan")
    with ThreadPoolExecutor(len(TOOLS)) as pool:
        answers = pool.map(lambda tool: watch(tool, arguments.device, *ours), TOOLS)
        found = dict(zip(TOOLS, answers))
    told = json.dumps(found, indent=1)
    print(told)
    if arguments.json is not None:
        arguments.json.write_text(told)
    return int(any(answer["exit"] != 0 or not answer["summary"] for answer in found.values()))


if __name__ == "__main__":
    sys.exit(main())
