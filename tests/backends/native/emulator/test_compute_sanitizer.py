"""compute-sanitizer on the driver: a script stands for the tool, and the emulator for the GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from memgan.backends.native import build, toolkit
from tests.backends.native.emulator import compute_sanitizer, driver
from tests.backends.native.emulator.driver import Case
from tests.backends.native.inputs import Inputs

SANITIZER = """#!{python}
# Runs the program, after a look at what it would be asked to do.
import os, subprocess, sys
words = sys.argv[1:]
assert words[0] == "--tool" and "--error-exitcode" in words
code = subprocess.run(words[words.index("9") + 1:]).returncode
print("========= ERROR SUMMARY: " + ("0 errors" if words[1] != "racecheck" else "1 error"))
sys.exit(code or 9 * (words[1] == "racecheck"))
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script, on the PATH; what it calls racecheck finds something."""
    script = tmp_path / "compute-sanitizer"
    script.write_text(SANITIZER.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_a_sanitizer_s_tools_say_what_they_found(
    tool: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Path(shutil.which("true") or "")
    found = {name: compute_sanitizer.watch(name, program, [tmp_path]) for name in ("memcheck", "racecheck")}
    assert [answer["exit"] for answer in found.values()] == [0, 9]
    assert [answer["summary"][0].split(": ")[1] for answer in found.values()] == ["0 errors", "1 error"]
    assert "1 error" in found["racecheck"]["said"]
    assert compute_sanitizer.clean({"memcheck": found["memcheck"]})
    assert not compute_sanitizer.clean(found)
    assert not compute_sanitizer.clean({"memcheck": {**found["memcheck"], "summary": []}}), (
        "it looked at nothing"
    )
    program = Path(shutil.which("sleep") or "")
    monkeypatch.setattr(compute_sanitizer, "AT_MOST", 0.2)
    late = compute_sanitizer.watch("memcheck", program, [Path("60")])
    assert "did not end" in late["said"]
    assert not compute_sanitizer.clean({"memcheck": late})


def test_a_sanitizer_watches_each_op_in_each_dtype() -> None:
    found = compute_sanitizer.cases()
    assert {str(dtype) for dtype in found} == {
        f"torch.{name}" for name in ("float16", "bfloat16", "float32", "float64")
    }
    for given in found.values():
        assert {case.op for case in given} == {"memory_refine", "memory_write", "memory_project"}
    assert any(getattr(case, "tf32", False) for case in found[torch.float32])


def test_a_program_runs_by_itself_and_under_each_tool(
    tool: None, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("memory_refine", Inputs.random())
    monkeypatch.setattr(compute_sanitizer, "cases", lambda: {torch.float64: [case], torch.float16: []})
    found = compute_sanitizer.run({torch.float64: program}, tmp_path, ["memcheck", "synccheck"])
    assert list(found) == ["by itself, double", "memcheck, double", "synccheck, double"]
    assert [answer["cases"] for answer in found.values()] == [1] * 3
    assert compute_sanitizer.clean(found)
    monkeypatch.setattr(
        case, "read", lambda folder: {name: torch.zeros_like(x) for name, x in case.results.items()}
    )
    (tmp_path / "again").mkdir()
    found = compute_sanitizer.run({torch.float64: program}, tmp_path / "again", [])
    assert "an error of" in found["by itself, double"]["wrong"][0]
    assert not compute_sanitizer.clean(found)


NVCC = """#!{python}
# Compiles nothing, and counts how often it was asked to.
import sys
from pathlib import Path
with open(sys.argv[0] + ".asked", "a") as asked:
    asked.write("once\\n")
Path(sys.argv[sys.argv.index("-o") + 1]).write_text("a program")
sys.exit(int(Path(sys.argv[0] + ".fails").exists()))
"""


def test_programs_are_compiled_once_for_each_state_of_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = toolkit.Toolkit(tmp_path, tmp_path)
    kit.nvcc.parent.mkdir()
    kit.nvcc.write_text(NVCC.format(python=sys.executable))
    kit.nvcc.chmod(0o755)
    monkeypatch.setattr(build, "plan", lambda: build.Plan("g++", kit, ("90",)))
    folder, asked = tmp_path / "programs", tmp_path / "bin" / "nvcc.asked"
    folder.mkdir()
    first = compute_sanitizer.compiled(folder, "cuda")
    assert all(program.is_file() for program in first.values())
    assert compute_sanitizer.compiled(folder, "cuda") == first
    assert len(asked.read_text().splitlines()) == len(first) == 4
    monkeypatch.setattr(driver, "_state", lambda: "another")
    (tmp_path / "bin" / "nvcc.fails").touch()
    with pytest.raises(subprocess.CalledProcessError):
        compute_sanitizer.compiled(folder, "cuda")
    assert not list(folder.glob("driver_*_another"))
