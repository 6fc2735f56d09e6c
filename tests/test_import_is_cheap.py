"""``import memgan`` is silent, builds nothing and loads nothing that can wait."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=False
    )


def test_import_is_silent_starts_no_program_and_loads_no_library() -> None:
    code = """
import subprocess, os
import torch
def never(*args, **kwargs):
    raise AssertionError(f"a program was started: {args}")
subprocess.Popen = subprocess.run = os.system = torch.ops.load_library = never
before = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
import memgan
assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == before
from memgan.backends.native import loader
assert not loader.STATE.tried
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "memgan" not in done.stderr, done.stderr


def test_import_brings_no_heavy_module_that_torch_has_not_brought() -> None:
    code = """
import sys
import torch
before = set(sys.modules)
import memgan
heavy = {"torch._dynamo", "torch._inductor", "torch.utils.cpp_extension", "setuptools", "PIL", "matplotlib", "scipy"}
print(sorted(heavy & (set(sys.modules) - before)))
"""
    done = run(code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
