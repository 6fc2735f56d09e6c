"""CUDA is compiled when it can be used, for what is there, and what cannot be used is told with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import memgan
from memgan.backends import native
from memgan.backends.native import build, loader, toolkit

VARIABLES = ("CUDA_HOME", "CUDA_PATH", "MEMGAN_CUDA", "MEMGAN_CUDA_ARCHS", "MEMGAN_JIT")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def a_toolkit(home: Path, compiles: str = 'touch "$out"') -> toolkit.Toolkit:
    """A folder that looks like one, whose nvcc knows three architectures and compiles as ``compiles`` says."""
    for name in ("bin", "include", "lib64"):
        (home / name).mkdir(parents=True)
    (home / "include" / "cuda_runtime.h").touch()
    (home / "lib64" / "libcudart_static.a").touch()
    nvcc = home / "bin" / "nvcc"
    nvcc.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --list-gpu-code ] && { printf "sm_80\\nsm_90\\nsm_103\\n"; exit; }\n'
        '[ "$1" = --version ] && { echo "Cuda compilation tools, release 12.9, V12.9.1"; exit; }\n'
        'while [ $# -gt 0 ]; do [ "$1" = -o ] && out="$2"; shift; done\n' + compiles + "\n"
    )
    nvcc.chmod(0o755)
    return toolkit.Toolkit(home, home / "lib64")


def test_only_a_whole_toolkit_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = a_toolkit(tmp_path / "whole")
    shim = tmp_path / "shim" / "bin" / "nvcc"
    shim.parent.mkdir(parents=True)
    shutil.copy(whole.nvcc, shim)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "shim"))
    monkeypatch.setenv("CUDA_PATH", str(whole.home))
    assert toolkit.find() == whole
    assert whole.version == "12.9"
    (whole.home / "include" / "cuda_runtime.h").unlink()
    monkeypatch.setenv("PATH", str(shim.parent))
    found = toolkit.find()
    assert found is None or found.home == Path("/usr/local/cuda")


def test_a_library_for_all_machines_holds_what_the_compiler_knows_of_the_shipped(tmp_path: Path) -> None:
    assert toolkit.architectures(a_toolkit(tmp_path)) == ("80+PTX", "90+PTX")


@pytest.mark.parametrize(
    ("here", "wanted"),
    [
        (((9, 0), (9, 0)), ("90",)),
        (((9, 0), (8, 0)), ("80", "90")),
        (((12, 0),), ("103+PTX",)),  # newer than the compiler: its newest PTX
        (((8, 6),), ("80+PTX",)),
    ],
)
def test_at_first_use_it_is_built_for_the_devices_that_are_there(
    here: tuple[tuple[int, int], ...], wanted: tuple[str, ...], tmp_path: Path
) -> None:
    names = toolkit.architectures(a_toolkit(tmp_path), here)
    assert names == wanted
    assert all(toolkit.runs_on(names, capability) for capability in here)


def test_the_environment_chooses_architectures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = a_toolkit(tmp_path)
    monkeypatch.setenv("MEMGAN_CUDA_ARCHS", "8.0, 90a 12.0+PTX")
    names = toolkit.architectures(kit, ((9, 0),))
    assert names == ("80", "90a", "120+PTX")
    assert toolkit.flags(names[1:]) == [
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_90,code=sm_120",
        "-gencode=arch=compute_120,code=compute_120",
    ]
    assert toolkit.flags(("100", "120"), "project_cuda") == [  # which would spill registers on 12.0
        "-gencode=arch=compute_100,code=sm_100",
        "-gencode=arch=compute_100,code=sm_120",
    ]
    monkeypatch.setenv("MEMGAN_CUDA_ARCHS", "hopper")
    with pytest.raises(
        toolkit.NoToolkit, match=r"MEMGAN_CUDA_ARCHS must be like .*got 'hopper'.*80, 90, 103"
    ):
        toolkit.architectures(kit)


def test_code_runs_on_its_own_generation_and_ptx_on_what_comes() -> None:
    for names, capability, runs in (
        (("80",), (8, 6), True),
        (("86",), (8, 0), False),
        (("80",), (9, 0), False),
        (("80+PTX",), (9, 0), True),
        (("90a",), (9, 0), True),
        (("90a+PTX",), (10, 0), False),
        (("100", "120+PTX"), (9, 0), False),
        (toolkit.SHIPPED, (10, 3), True),
        (toolkit.SHIPPED, (11, 0), True),
        (toolkit.SHIPPED, (12, 1), True),
        (toolkit.SHIPPED, (7, 5), False),
    ):
        assert toolkit.runs_on(names, capability) is runs, (names, capability)


def test_what_comes_takes_ptx_of_the_newest_that_is_shipped() -> None:
    told = toolkit.flags(toolkit.SHIPPED)
    made = max(int(flag.split("compute_")[1].split(",")[0]) for flag in told)
    assert f"-gencode=arch=compute_{made},code=compute_{made}" in told


def test_when_cuda_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = a_toolkit(tmp_path)
    monkeypatch.setattr(toolkit, "find", lambda: kit)
    monkeypatch.setattr(toolkit, "devices", lambda: ())
    assert build.plan(for_all_machines=True).architectures == ("80+PTX", "90+PTX")
    assert build.plan().toolkit is None
    assert "no CUDA device" in str(build.plan().without_cuda)
    monkeypatch.setenv("MEMGAN_CUDA", "1")
    assert build.plan().architectures == ("80+PTX", "90+PTX")
    monkeypatch.setenv("MEMGAN_CUDA", "0")
    monkeypatch.setattr(toolkit, "devices", lambda: ((9, 0),))
    assert "MEMGAN_CUDA=0" in str(build.plan(for_all_machines=True).without_cuda)
    monkeypatch.delenv("MEMGAN_CUDA")
    assert build.plan().architectures == ("90",)
    monkeypatch.setattr(toolkit, "find", lambda: None)
    assert "no CUDA toolkit was found (CUDA_HOME" in str(build.plan().without_cuda)
    monkeypatch.setenv("MEMGAN_CUDA", "1")
    with pytest.raises(build.BuildError, match="MEMGAN_CUDA=1, but no CUDA toolkit was found"):
        build.plan()
    monkeypatch.setenv("MEMGAN_CUDA", "yes")
    with pytest.raises(build.BuildError, match="MEMGAN_CUDA must be 0 or 1, got 'yes'"):
        build.plan()


def test_where_nvcc_refuses_the_cpu_s_kernels_are_built_alone_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = a_toolkit(tmp_path / "cuda", f'echo run >> "{tmp_path}/runs"; echo nonsense in line 7; exit 1')
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = -o ] && touch "$2"; shift; done\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("MEMGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(toolkit, "find", lambda: kit)
    monkeypatch.setattr(toolkit, "devices", lambda: ((9, 0),))
    for _ in range(2):
        library, reason = build.build()
        assert library.is_file()
        assert "nvcc refused" in str(reason)
        (log,) = tmp_path.glob("cache/native/*/build.log")
        assert str(log) in str(reason)
        assert "nonsense in line 7" in log.read_text()
    cuda_sources = [path for path in build.plan().sources() if path.suffix == ".cu"]
    assert len((tmp_path / "runs").read_text().splitlines()) == len(cuda_sources), "tried again"
    monkeypatch.setenv("MEMGAN_CUDA", "1")
    with pytest.raises(build.BuildError, match=r"could not build the kernels.*build\.log"):
        build.build()


def cuda_tensor(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with FakeTensorMode():
        return torch.empty(size, device="cuda", dtype=dtype)


@pytest.mark.parametrize(
    ("facts", "capability", "told"),
    [
        ({}, (9, 0), None),
        ({}, (9, 5), None),
        ({}, (8, 0), r"holds code for 90, and this device is of 80: build with MEMGAN_CUDA_ARCHS=80"),
        ({"driver": 12080}, (9, 0), r"the driver takes CUDA 12\.8 at most.*runtime is 13\.0.*newer driver"),
        ({"architectures": (), "without_cuda": "no nvcc"}, (9, 0), "holds no CUDA kernels: no nvcc"),
        ({"reason": "no library"}, (9, 0), "no library"),
    ],
)
def test_a_device_that_cannot_run_the_library_is_told_with_the_reason(
    facts: dict[str, object], capability: tuple[int, int], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {
        "tried": True,
        "architectures": ("90",),
        "runtime": 13000,
        "driver": 13010,
        "of_device": {},
        "most_words": 9,
    } | facts
    for name, value in state.items():
        monkeypatch.setattr(loader.STATE, name, value)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    features, slots = cuda_tensor(1, 2, 3, 4), cuda_tensor(1, 5, 2)
    reason = native.unsupported_reason("memory_read", features, slots, slots)
    if told is None:
        assert reason is None
        return
    with pytest.raises(memgan.errors.BackendUnavailable, match=told):
        memgan.memory_read(features, slots, slots)


def test_more_words_than_the_kernels_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"tried": True, "reason": None, "most_words": 4, "of_device": {0: None}}.items():
        monkeypatch.setattr(loader.STATE, name, value)
    features, slots = cuda_tensor(1, 2, 3, 4), cuda_tensor(1, 5, 2)
    reason = native.unsupported_reason("memory_read", features, slots, values=slots)
    assert reason == "the CUDA kernels take at most 4 words, got 5"
    assert native.unsupported_reason("memory_read", features, *[cuda_tensor(1, 4, 2)] * 2) is None


def test_dtypes_that_no_cuda_kernel_takes() -> None:
    reason = native.unsupported_reason("memory_read", cuda_tensor(1, 2, 3, 4, dtype=torch.float8_e5m2))
    assert reason == ("the CUDA kernels take float32, float64, bfloat16 and float16, not torch.float8_e5m2")


def test_the_kernels_use_no_macro_that_the_oldest_torch_has_not() -> None:
    """torch hides later versions' functions behind TORCH_TARGET_VERSION, but not their macros."""
    later_than_2_11 = (
        "STABLE_TORCH_ERROR_CODE_CHECK",
        "AT_OPAQUE_TYPES",
        "C10_WARP_SIZE_",
        "TORCH_VERSION_2_1",
    )
    for path in build.CSRC.rglob("*"):
        if path.is_file():
            used = [name for name in later_than_2_11 if name in path.read_text()]
            assert not used, f"{path.name} uses {', '.join(used)}"
