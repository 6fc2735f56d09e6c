"""The doctor's report: complete, readable, and honest about what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from memgan import doctor
from memgan.backends.dispatch import OPS


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memgan.doctor", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


def test_json_holds_every_op_and_the_tools() -> None:
    done = run("--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert set(facts["ops"]) == set(OPS)
    assert facts["torch"]
    assert facts["kernels"]["loaded"] is (facts["kernels"]["reason"] is None)
    for devices in facts["ops"].values():
        assert devices["cpu"]["takes"] in ("native", "reference")


def test_without_kernels_the_reason_is_told(tmp_path: object) -> None:
    done = run(MEMGAN_JIT="0", MEMGAN_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    if "prebuilt, " not in done.stdout:
        assert "none: no prebuilt library, and MEMGAN_JIT=0 forbids to build one" in done.stdout
        assert "MEMGAN_JIT" in done.stdout


def test_a_variable_with_a_long_name_stands_apart_from_its_value(tmp_path: object) -> None:
    told = run(
        MEMGAN_CPU_CAPABILITY="generic",
        MEMGAN_CUDA_ARCHS="80 90",
        MEMGAN_JIT="0",
        MEMGAN_CACHE=str(tmp_path),
    ).stdout.splitlines()
    assert "MEMGAN_CPU_CAPABILITY generic" in told
    assert "MEMGAN_CUDA_ARCHS 80 90" in told
    assert "MEMGAN_JIT      0" in told


def test_a_failed_build_shows_the_compiler_s_words(tmp_path: object) -> None:
    done = run("--json", CXX="/bin/false", MEMGAN_CACHE=str(tmp_path))
    kernels = json.loads(done.stdout)["kernels"]
    if kernels["origin"] != "prebuilt":
        assert not kernels["loaded"]
        assert "build.log" in kernels["reason"]
        assert "BuildError" in kernels["error"]


def test_a_forced_backend_that_cannot_run_is_not_called_taken(tmp_path: object) -> None:
    forced = {"MEMGAN_BACKEND": "native", "MEMGAN_JIT": "0", "MEMGAN_CACHE": str(tmp_path)}
    facts = json.loads(run("--json", **forced).stdout)
    if facts["kernels"]["origin"] != "prebuilt":
        assert facts["ops"]["memory_read"]["cpu"]["takes"] == "none"
        assert (
            "memory_read     cpu   none, calls raise BackendUnavailable: no prebuilt" in run(**forced).stdout
        )


def test_a_backend_that_cannot_be_imported_is_a_reason_and_no_crash() -> None:
    code = (
        "import sys; sys.modules['memgan.backends.native'] = None\n"  # as a module that the system lacks
        "from memgan import doctor; sys.exit(doctor.main(sys.argv[1:]))"
    )
    for flags in ((), ("--json",)):
        done = subprocess.run(
            [sys.executable, "-c", code, *flags], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "the native backend cannot be imported" in done.stdout
    facts = json.loads(done.stdout)
    assert "ModuleNotFoundError" in facts["kernels"]["error"]
    assert facts["ops"]["memory_read"]["cpu"]["takes"] == "reference"


def test_a_wrong_flag(capsys: pytest.CaptureFixture) -> None:
    assert doctor.main(["--xml"]) == 2
    assert "usage" in capsys.readouterr().err
