"""What nvcc says of a kernel is read right, and a library that needs too much is seen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from memgan.backends.native import loader
from tests.backends.native import binary

WORDS = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN6memgan4cuda4leanIfEEv4Args' for 'sm_80'
ptxas info    : Function properties for _ZN6memgan4cuda4leanIfEEv4Args
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 656 bytes cmem[0]
ptxas info    : Compile time = 20.109 ms
ptxas info    : Compiling entry function 'some_generic_one' for 'sm_90a'
ptxas info    : Function properties for some_generic_one
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 8 bytes cumulative stack size, 512 bytes smem
"""


def test_registers_spills_and_shared_memory_are_read() -> None:
    lean, generic = binary.kernels(WORDS)
    assert (lean.architecture, lean.stack, lean.spills, lean.registers, lean.shared) == ("80", 0, 0, 40, 0)
    assert lean.must_be_lean
    assert (generic.architecture, generic.stack, generic.spills) == ("90a", 8, 28)
    assert generic.shared == 512
    assert not generic.must_be_lean
    assert "sm_90a 8, 28" in binary.table([lean, replace(generic, name="other")])


def test_the_library_needs_torch_s_cpu_library_and_the_system_s_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not here")
    library = loader.STATE.path
    assert library is not None
    assert "libtorch_cpu.so" in binary.needed(library)
    assert not binary.surplus(library)
    monkeypatch.setattr(binary, "needed", lambda _: ["libc.so.6", "libcudart.so.13", "libtorch_cuda.so"])
    assert binary.surplus(library) == ["libcudart.so.13", "libtorch_cuda.so"]
