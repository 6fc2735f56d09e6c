"""compute-sanitizer's four tools on one call of every kernel, all four at once.

A tool that is slow watches as many calls as fit in its time, and says how many.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Each allocation one of the driver's: an access outside of a tensor, or to what was never written, is then seen.
OWN_MEMORY = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
TOOLS: dict[str, dict[str, str]] = {
    "memcheck": OWN_MEMORY,
    "racecheck": {},
    "initcheck": OWN_MEMORY,
    "synccheck": {},
}
SECONDS = 110  # in which a tool's calls begin
AT_MOST = 170  # of a tool


def watch(tool: str, device: str, *filters: str) -> dict[str, Any]:
    """What one tool found in how many calls, or that it did not end."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        left = Path(folder) / "watched.json"
        command = ["compute-sanitizer", "--tool", tool, *filters, "--error-exitcode", "9"]
        command += [sys.executable, "-m", "benchmarks.gpu.watched", "--seconds", str(SECONDS)]
        command += ["--device", device, "--json", str(left)]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **TOOLS[tool]},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=AT_MOST,
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            calls = len(re.findall(r"^[\d.]+ s: memory_", said, re.MULTILINE))
            return {"exit": None, "summary": [], "calls": calls, "said": f"did not end\n{said[-3000:]}"}
        reached = json.loads(left.read_text()) if left.is_file() else {"calls": 0}
    told = re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY: .*$", done.stdout, re.MULTILINE)
    if filters and not told:  # a version that does not know the filter looks at all kernels
        return watch(tool, device)
    return {
        "exit": done.returncode,
        "summary": told,
        **reached,
        "seconds": round(time.monotonic() - begun, 1),
        "said": done.stdout[-3000:] if done.returncode else "",
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.sanitizer", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", choices=TOOLS, nargs="+", default=list(TOOLS), help="default: all four")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    ours = ("--kernel-name", "kernel_substring=memgan")
    with ThreadPoolExecutor(len(arguments.only)) as pool:
        answers = pool.map(lambda tool: watch(tool, arguments.device, *ours), arguments.only)
        found = dict(zip(arguments.only, answers))
    told = json.dumps(found, indent=1)
    print(told)
    if arguments.json is not None:
        arguments.json.write_text(told)
    clean = all(answer["exit"] == 0 and answer["summary"] and answer["calls"] for answer in found.values())
    return int(not clean)


if __name__ == "__main__":
    sys.exit(main())
