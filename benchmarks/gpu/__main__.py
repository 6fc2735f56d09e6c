"""``python -m benchmarks.gpu``: each part in a process of its own, its result stored before the next one begins.

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
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import PARTS, Part

ROOT = Path(__file__).parents[2]
CACHE = Path(tempfile.gettempdir()) / "memgan_gpu"  # of libraries built here: not among what is brought home
DONE = ("ok", "unavailable")


def commit() -> str:
    """Which state of the repository this is; where there is no git, a digest of the sources."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        import hashlib

        digest = hashlib.sha256()
        for path in sorted(ROOT.glob("memgan/**/*")):
            if path.suffix in (".py", ".h", ".cpp", ".cu"):
                digest.update(path.read_bytes())
        return f"sources {digest.hexdigest()[:12]}"
    return done.stdout.strip()


def run(part: Part, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """One part: its status, how long it took, the JSON that it left and the end of what it said."""
    lacking = part.lacking()
    if lacking is not None:
        return {"status": "unavailable", "why": lacking}
    result = arguments.out / f".{part.name}.json"
    result.unlink(missing_ok=True)
    variables = {**os.environ, "MEMGAN_CACHE": str(CACHE), "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    begun = time.monotonic()
    with open(arguments.out / "gpu.log", "ab") as log:
        log.write(f"\n==== {part.name}\n".encode())
        log.flush()
        place = log.tell()
        process = subprocess.Popen(
            part.command(arguments, result), cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            status = "ok" if process.wait(timeout=seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            status = "out of time"
    with open(arguments.out / "gpu.log", "rb") as log:
        log.seek(place)
        told = log.read().decode(errors="replace")
    found = json.loads(result.read_text()) if result.is_file() else None
    result.unlink(missing_ok=True)
    return {
        "status": status,
        "exit": process.returncode,
        "seconds": round(time.monotonic() - begun, 1),
        "result": found,
        "said": told[-(1500 if status == "ok" else 8000) :],
    }


def stored(path: Path, state: str) -> dict[str, Any]:
    """What earlier calls found on this commit."""
    if path.is_file():
        held: dict[str, Any] = json.loads(path.read_text())
        if held.get("commit") == state:
            return held
        path.rename(path.with_suffix(f".{int(time.time())}.json"))
    return {"commit": state, "parts": {}}


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
    deadline = time.monotonic() + 60 * arguments.minutes
    for part in PARTS:
        known = held["parts"].get(part.name, {}).get("status")
        if (only and part.name not in only) or (not only and not arguments.again and known in DONE):
            continue
        left = deadline - time.monotonic()
        if left < 15 and known is None:
            answer: dict[str, Any] = {"status": "out of time", "why": "the call's minutes were over"}
        elif left < 15:
            continue
        else:
            answer = run(part, arguments, min(part.seconds, left))
        held["parts"][part.name] = {**answer, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(held, indent=1))
        os.replace(temporary, path)
        why = answer.get("why") or (answer.get("said", "")[-600:] if answer["status"] != "ok" else "")
        print(f"{part.name:12s}{answer['status']:12s}{answer.get('seconds', 0):7.1f} s  {why}", flush=True)
    print(f"stored {path}")
    return int(any(part["status"] not in DONE for part in held["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
