"""The parts, in the order of what is most worth knowing when a GPU is there for minutes only."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREBUILT = ROOT / "memgan" / "backends" / "native" / "libmemgan_native.so"
Command = Callable[[argparse.Namespace, Path], list[str]]


def nothing() -> str | None:
    """What a part that needs nothing lacks."""
    return None


@dataclass(frozen=True)
class Part:
    """A command, the seconds that it may take, and why it cannot run here, if it cannot."""

    name: str
    seconds: float
    command: Command  # the call's arguments, where to leave JSON → words
    lacking: Callable[[], str | None] = nothing
    together: bool = False  # with others: it measures nothing


def module(name: str, *words: str) -> Command:
    """``python -m name words --device DEVICE --json RESULT``."""

    def command(arguments: argparse.Namespace, result: Path) -> list[str]:
        return [
            *(sys.executable, "-m", name, *words),
            *("--device", arguments.device, "--json", str(result)),
        ]

    return command


def check(*words: str) -> Command:
    return module("benchmarks.gpu.check", *words)


def suite(*words: str) -> Command:
    return module("benchmarks.gpu.suite", *words)


def kernels(arguments: argparse.Namespace, result: Path) -> list[str]:
    quick = ("--quick",) if arguments.device == "cpu" else ("--seconds", "0.4")
    out = str(arguments.out / f"memory_{arguments.device}")
    return [
        *(sys.executable, "-m", "benchmarks.memory", "--device", arguments.device),
        *("--out", out, *quick),
    ]


def compiling(arguments: argparse.Namespace, result: Path) -> list[str]:
    quick = ("--quick",) if arguments.device == "cpu" else ()
    return [
        *(sys.executable, "-m", "benchmarks.memory.compiled", "--device", arguments.device),
        *quick,
    ]


def model(task: str) -> Command:
    """The model's benchmark on one task, into a folder of its own."""

    def command(arguments: argparse.Namespace, result: Path) -> list[str]:
        quick = ("--quick",) if arguments.device == "cpu" else ("--seconds", "4")
        return [
            *(sys.executable, "-m", "benchmarks.model", "--device", arguments.device, "--task", task),
            *("--out", str(arguments.out / task.replace(" ", "_")), *quick),
        ]

    return command


def training(arguments: argparse.Namespace, result: Path) -> list[str]:
    minutes = ("0.05", "--tiny") if arguments.device == "cpu" else ("0.75",)
    words = ("--minutes", *minutes, "--run", str(ROOT / "runs" / f"gpu_training_{arguments.device}"))
    return module("benchmarks.gpu.training", *words, "--grid", str(arguments.out / "grid.png"))(
        arguments, result
    )


def sanitizer(arguments: argparse.Namespace, result: Path) -> list[str]:
    programs = ROOT / "runs" / f"gpu_programs_{arguments.device}"  # compiled once
    name = "tests.backends.native.emulator.compute_sanitizer"
    return module(name, "--programs", str(programs))(arguments, result)


def profile(arguments: argparse.Namespace, result: Path) -> list[str]:
    return [
        *("ncu", "--clock-control", "none", "--kernel-name", "regex:attend|write|project", "--set", "basic"),
        *("--section", "MemoryWorkloadAnalysis", "--section", "ComputeWorkloadAnalysis"),
        *("--section", "SchedulerStats", "--section", "WarpStateStats", "--csv", "--page", "details"),
        *(
            "--log-file",
            str(arguments.out / "ncu.csv"),
            "--launch-count",
            "70",
            sys.executable,
            "-m",
            "benchmarks.gpu.check",
            "--large",
        ),
        *("--device", arguments.device, "--json", str(result)),
    ]


def no_prebuilt() -> str | None:
    if PREBUILT.is_file():
        return None
    return f"{PREBUILT.relative_to(ROOT)} is not there (MEMGAN_BUILD_NATIVE=1 pip install -e . makes it)"


def no_tool(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"{name} is not on the PATH"


def no_module(name: str) -> Callable[[], str | None]:
    def lacking() -> str | None:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # not even the package
            found = None
        return None if found else f"there is no module {name}"

    return lacking


PARTS = (
    Part("facts", 60, check("--facts"), together=True),
    Part("prebuilt", 120, check(), no_prebuilt, together=True),
    Part("jit", 240, check("--built-here"), together=True),
    Part("gradchecks", 120, suite("finite_differences"), no_module("pytest"), together=True),
    Part("suite", 200, suite("not finite_differences"), no_module("pytest"), together=True),
    Part("sanitizer", 180, sanitizer, no_tool("compute-sanitizer"), together=True),
    Part("compile", 150, compiling, together=True),
    Part("kernels", 200, kernels),
    Part("sampling", 180, model("sampling"), no_module("benchmarks.model.__main__")),
    Part("training", 120, training),
    Part("step", 180, model("training step"), no_module("benchmarks.model.__main__")),
    Part("profile", 90, profile, no_tool("ncu")),
)
