"""Prebuilt, built here or not at all: always with the reason, never half."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import memgan
from memgan.backends import native, reference
from memgan.backends.native import build, loader, toolkit


@pytest.fixture
def library() -> Path:
    """The one that this process runs on."""
    assert loader.STATE.path is not None
    return loader.STATE.path


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process that has loaded nothing yet, and an empty cache."""
    monkeypatch.setattr(loader, "STATE", loader.State())
    monkeypatch.setattr(loader, "PREBUILT", tmp_path / "none.so")
    monkeypatch.setenv("MEMGAN_CACHE", str(tmp_path / "cache"))
    for name in ("MEMGAN_JIT", "MEMGAN_CUDA", "MEMGAN_CUDA_ARCHS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that does what ``script`` says; ``$out`` is the file it is asked for."""
    path = folder / "compiler"
    path.write_text(f'#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = -o ] && out="$2"; shift; done\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))


def test_without_a_compiler_auto_works_and_native_says_what_is_missing(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(fresh / "no-such-compiler"))
    assert "no C++ compiler" in str(
        native.unavailable_reason()
    )  # and no warning, which would be an error here
    with pytest.raises(memgan.errors.BackendUnavailable, match=r"no C\+\+ compiler.*memgan.doctor"):
        memgan.use_backend("native")
    assert "native: no C++ compiler" in memgan.explain_backends("memory_read")
    features, slots = torch.randn(2, 3, 4, 5), torch.randn(2, 7, 3)
    with pytest.raises(memgan.errors.BackendUnavailable, match="memory_read: backend 'native' was forced"):
        memgan.memory_read(features, slots, slots)
    with memgan.use_backend("auto"):
        read, _ = memgan.memory_read(features, slots, slots)
    assert torch.equal(read, reference.memory_read(features, slots, slots)[0])


def test_a_build_can_be_forbidden(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMGAN_JIT", "0")
    assert "MEMGAN_JIT=0" in str(native.unavailable_reason())
    assert not (fresh / "cache").exists()


def test_a_compiler_that_refuses_leaves_its_words_and_no_library(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(fresh, "echo nonsense in line 7; exit 1", monkeypatch)
    with pytest.warns(RuntimeWarning, match="falls back to plain PyTorch: .*build.log"):
        reason = native.unavailable_reason()
    assert reason == native.unavailable_reason()  # asked again: the same answer, and no second warning
    log = Path(str(reason).rsplit(" ", 1)[1])
    assert "nonsense in line 7" in log.read_text()
    assert sorted(path.name for path in log.parent.iterdir()) == ["build.log", "lock"]


def test_a_place_that_cannot_be_written_to_is_named(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh / "file").write_text("")
    monkeypatch.setenv("MEMGAN_CACHE", str(fresh / "file"))
    with pytest.warns(RuntimeWarning, match="cannot be written to .*MEMGAN_CACHE names another place"):
        assert native.unavailable_reason() is not None


def test_a_library_that_does_not_load_is_not_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(fresh, 'echo not a library > "$out"', monkeypatch)
    with pytest.warns(RuntimeWarning, match="cannot be loaded"):
        assert native.unavailable_reason() is not None
    assert isinstance(loader.STATE.error, OSError)


def test_two_at_once_build_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(fresh, f'echo run >> "{fresh}/runs"; sleep 0.05; echo library > "$out"', monkeypatch)
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(build.build()[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    runs = (fresh / "runs").read_text().splitlines()
    assert len(runs) == len(build.plan().sources()) + 1, "each file once, and the linker"


def test_a_compiler_may_have_a_launcher_and_options(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fresh / "of two words"
    folder.mkdir()
    launcher = fresh / "launcher"
    launcher.write_text(f'#!/bin/sh\necho "$@" >> "{fresh}/runs"\nexec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", str(fresh), prepend=os.pathsep)
    compiler(folder, 'echo library > "$out"', monkeypatch)
    alone = build.plan()
    monkeypatch.setenv("CXX", f"launcher '{folder}/compiler' -DSOME")
    chosen = build.plan()
    assert shlex.split(chosen.compiler) == [str(launcher), f"{folder}/compiler", "-DSOME"]
    key = chosen.key()
    assert key != alone.key()
    assert build.build()[0].read_text() == "library\n"
    runs = (fresh / "runs").read_text().splitlines()
    assert runs
    assert all(run.startswith(f"{folder}/compiler -DSOME ") for run in runs)
    nvcc = build.Plan(chosen.compiler, toolkit.Toolkit(fresh, fresh)).command(Path("a.cu"), Path("a.o"))
    assert nvcc[1:3] == [f"-ccbin={folder}/compiler", "-Xcompiler=-DSOME"]
    (folder / "compiler").write_text("#!/bin/sh\n# another one\n")
    assert chosen.key() != key, "another file of the compiler's name"


@pytest.mark.parametrize("command", ["no-such-launcher g++", "'g++", " "])
def test_a_command_that_cannot_be_found_is_no_compiler(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", command)
    assert build.compiler() is None


def test_the_cache_s_key_changes_with_what_the_library_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = build.Plan("g++")
    keys = [plan.key(), build.Plan("clang++").key()]
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\n")
    nvcc.chmod(0o755)
    kit = toolkit.Toolkit(tmp_path, tmp_path)
    keys += [build.Plan("g++", kit, names).key() for names in (("90",), ("90+PTX",))]
    nvcc.write_text("#!/bin/sh\n# another one\n")
    keys.append(build.Plan("g++", kit, ("90",)).key())
    monkeypatch.setattr(build, "CUDA_FLAGS", (*build.CUDA_FLAGS, "-G"))
    keys.append(build.Plan("g++", kit, ("90",)).key())
    assert plan.key() == keys[0], "flags for nvcc do not touch a library without CUDA"
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-O0"))
    keys.append(plan.key())
    monkeypatch.setattr(torch, "__version__", "2.99")
    keys.append(plan.key())
    assert len(set(keys)) == len(keys)


def test_a_prebuilt_library_is_taken_before_anything_is_built(
    library: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "PREBUILT", library)
    monkeypatch.setenv("CXX", str(fresh / "no-such-compiler"))
    assert native.unavailable_reason() is None
    assert (loader.STATE.origin, loader.STATE.path) == ("prebuilt", library)


@pytest.mark.parametrize("name", ["", *loader.CAPABILITIES])
def test_a_known_instruction_set_is_taken_without_a_word(
    name: str, library: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "PREBUILT", library)
    monkeypatch.setenv("MEMGAN_CPU_CAPABILITY", name)
    assert native.unavailable_reason() is None  # a warning would be an error here


def test_an_unknown_instruction_set_is_told_of() -> None:
    code = (
        "import memgan; memgan.use_backend('native'); print(memgan.backends.native.loader.STATE.capability)"
    )
    variables = {**os.environ, "MEMGAN_CPU_CAPABILITY": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert done.stdout.strip() == "generic", done.stderr
    assert (
        "MEMGAN_CPU_CAPABILITY must be one of avx512, avx2, generic, got 'AVX2': the CPU kernels run as generic"
        in done.stderr
    )


def test_the_loader_knows_the_instruction_sets_that_the_library_knows() -> None:
    source = (build.CSRC / "cpu" / "select.cpp").read_text()
    assert set(re.findall(r"return kernels_(\w+)\(\);", source)) == set(loader.CAPABILITIES)


SCRIPT = """
import torch, memgan
from memgan.backends import reference
from memgan.backends.native import loader
from memgan.ops.norm_glu import norm_glu
made = torch.Generator().manual_seed(0)
normal = lambda *size: torch.randn(*size, generator=made)
moments = lambda dtype: dict(running_mean=torch.zeros(14, dtype=dtype), running_var=torch.ones(14, dtype=dtype),
                             momentum=0.1, eps=1e-5)
calls = {
    "memory_refine": [normal(2, 13, 9, 31), normal(2, 5, 13), normal(2, 5, 13), None, normal(1, 26), normal(1)],
    "memory_write": [normal(2, 5, 7), normal(2, 3), normal(70, 7), normal(70), normal(70, 3), normal(70),
                     normal(1, 7), normal(1, 3)],
    "norm_glu": [normal(2, 14, 9, 31), normal(14), normal(14)],
}
functions = lambda op: (getattr(memgan, op, norm_glu), getattr(reference, op))
with memgan.use_backend("native"):
    for op, inputs in calls.items():
        for dtype, close in ((torch.float32, 1e-4), (torch.float64, 1e-10), (torch.bfloat16, 2e-2)):
            wide = torch.promote_types(dtype, torch.float32) if op == "norm_glu" else dtype  # of its weights
            given = [x if x is None else x.to(wide if i else dtype).requires_grad_() for i, x in enumerate(inputs)]
            exact = [x if x is None else x.detach().double().requires_grad_() for x in given]
            pairs = []
            for function, tensors in zip(functions(op), (given, exact)):
                options = moments(tensors[1].dtype) if op == "norm_glu" else {}
                result = function(*tensors, **options)
                result = result[0] if isinstance(result, tuple) else result
                wanted = [x for x in tensors if x is not None]
                pairs.append([result, *torch.autograd.grad(result.sin().sum(), wanted)])
            for mine, theirs in zip(*pairs):
                far = (mine.double() - theirs).abs().max() / theirs.detach().abs().max()
                assert far < close, (op, dtype, float(far))
print(loader.STATE.capability)
"""


@pytest.mark.parametrize("capability", ["avx2", "generic"])
def test_every_instruction_set_computes_the_same(capability: str) -> None:
    variables = {**os.environ, "MEMGAN_CPU_CAPABILITY": capability}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = done.stdout.strip()
    assert told == capability or (capability == "avx2" and told == "generic")  # a machine without AVX2
