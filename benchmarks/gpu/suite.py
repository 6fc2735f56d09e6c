"""The tests that only a GPU can run, with whatever plugins this Python has."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def settings() -> str:
    """pytest.ini from pyproject.toml, without what a missing plugin would have to know."""
    options: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"][
        "ini_options"
    ]
    if importlib.util.find_spec("pytest_timeout") is None:
        options.pop("timeout")
    options["filterwarnings"] = ["default"]  # what another torch or Python says of itself fails no test here
    lines = ["[pytest]"]
    for name, value in options.items():
        told = "".join(f"\n    {line}" for line in value) if isinstance(value, list) else value
        lines.append(f"{name} = {told}")
    return "\n".join(lines) + "\n"


def marked() -> list[str]:
    """Files that hold such tests: others may need what this Python has not."""
    return sorted(
        str(path.relative_to(ROOT))
        for path in ROOT.glob("tests/**/test_*.py")
        if "mark.gpu" in path.read_text()
    )


def counted(report: Path) -> dict[str, Any]:
    """How many tests did what, and which failed."""
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    found: dict[str, Any] = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0, "failed": []}
    for each in suites:
        for name in ("tests", "failures", "errors", "skipped"):
            found[name] += int(each.get(name, 0))
        for case in each.iter("testcase"):
            fault = case.find("failure")
            fault = case.find("error") if fault is None else fault
            if fault is not None:
                found["failed"].append(
                    {"test": case.get("name"), "message": (fault.get("message") or "")[:500]}
                )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.suite", description=__doc__)
    parser.add_argument("chosen", help="as pytest's -k")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: all of them are skipped"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pytest.ini").write_text(settings())
        report = folder / "report.xml"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-k", arguments.chosen),
                *("-c", str(folder / "pytest.ini"), "--rootdir", str(ROOT), "-p", "no:cacheprovider"),
                *(f"--junitxml={report}", *marked()),
            ],
            cwd=ROOT,
            env={**os.environ, "MEMGAN_REQUIRE_NATIVE": "1"},
            check=False,
        )
        found = counted(report) if report.is_file() else {"tests": 0, "said": "pytest did not begin"}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1))
    if arguments.device == "cuda" and found["tests"] == found.get("skipped"):
        print("no test ran")
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
