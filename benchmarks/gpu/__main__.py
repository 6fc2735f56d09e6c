"""``python -m benchmarks.gpu``: each part in a process of its own, its result stored as soon as it is there.

Parts that measure nothing run at once, those that do run one after another behind them.

    python3 -m benchmarks.gpu                        # all parts that OUT/gpu.json does not hold yet for this commit
    python3 -m benchmarks.gpu --only facts,suite     # those alone, again

What the machine lacks (a tool, a prebuilt library, a second device) is stored as ``unavailable`` with the reason. The
exit status is 0 unless a part failed or ran out of time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common.commit import commit
from benchmarks.gpu.parts import PARTS, Part

ROOT = Path(__file__).parents[2]
CACHE = Path(tempfile.gettempdir()) / "memgan_gpu"  # of libraries built here: not among what is brought home
DONE = ("ok", "unavailable")


def run(part: Part, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """One part: its status, how long it took, the JSON that it left and the end of what it said."""
    lacking = part.lacking()
    if lacking is not None:
        return {"status": "unavailable", "why": lacking}
    result, log = (arguments.out / f".{part.name}.{kind}" for kind in ("json", "log"))
    result.unlink(missing_ok=True)
    variables = {**os.environ, "MEMGAN_CACHE": str(CACHE), "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    begun = time.monotonic()
    with open(log, "wb") as written:
        process = subprocess.Popen(
            part.command(arguments, result), cwd=ROOT, env=variables, stdout=written, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            status = "ok" if process.wait(timeout=seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            status = "out of time"
    told = log.read_text(errors="replace")
    log.unlink()
    found = json.loads(result.read_text()) if result.is_file() else None
    result.unlink(missing_ok=True)
    return {
        "status": status,
        "exit": process.returncode,
        "seconds": round(time.monotonic() - begun, 1),
        "result": found,
        "said": told[-(1500 if status == "ok" else 8000) :],
        "log": told,
    }


def stored(path: Path, state: str) -> dict[str, Any]:
    """What earlier calls found on this commit."""
    if path.is_file():
        held: dict[str, Any] = json.loads(path.read_text())
        if held.get("commit") == state:
            return held
        path.rename(path.with_suffix(f".{int(time.time())}.json"))
    return {"commit": state, "parts": {}}


def keep(name: str, found: dict[str, Any], held: dict[str, Any], out: Path) -> None:
    """Store what a part found among what is ``held``, its words in the log, and say it in a line."""
    with open(out / "gpu.log", "a") as log:
        log.write(f"\n==== {name}\n{found.pop('log', '')}")
    held["parts"][name] = {**found, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    temporary = out / "gpu.part"
    temporary.write_text(json.dumps(held, indent=1))
    os.replace(temporary, out / "gpu.json")
    why = found.get("why") or (found.get("said", "")[-600:] if found["status"] != "ok" else "")
    print(f"{name:12s}{found['status']:12s}{found.get('seconds', 0):7.1f} s  {why}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="of gpu.json, gpu.log and results")
    parser.add_argument(
        "--only", default="", help=f"of {', '.join(part.name for part in PARTS)}; a comma between"
    )
    parser.add_argument("--again", action="store_true", help="also what is stored as done")
    parser.add_argument("--minutes", type=float, default=7.5, help="no part is begun or goes on beyond")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal, tiny sizes"
    )
    arguments = parser.parse_args()
    only = [name for name in arguments.only.split(",") if name]
    unknown = set(only) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"--only: no part is called {', '.join(sorted(unknown))}")
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "gpu.json"
    held = stored(path, commit())
    chosen = [
        part
        for part in PARTS
        if (
            part.name in only
            if only
            else arguments.again or held["parts"].get(part.name, {}).get("status") not in DONE
        )
    ]
    deadline = time.monotonic() + 60 * arguments.minutes
    keeping = threading.Lock()

    def answer(part: Part) -> None:
        left = deadline - time.monotonic()
        if left >= 15:
            found = run(part, arguments, min(part.seconds, left))
        elif part.name in held["parts"]:
            return
        else:
            found = {"status": "out of time", "why": "the call's minutes were over"}
        with keeping:
            keep(part.name, found, held, arguments.out)

    together = [part for part in chosen if part.together]
    with ThreadPoolExecutor(max(1, len(together))) as pool:
        list(pool.map(answer, together))
    for part in chosen:
        if not part.together:
            answer(part)
    print(f"stored {path}")
    return int(any(part["status"] not in DONE for part in held["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
