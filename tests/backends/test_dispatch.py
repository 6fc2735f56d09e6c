"""Who chooses the backend: the process, a block, the environment; and what is said when it cannot be honoured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import memgan
from memgan.backends import dispatch, native

ARGUMENTS = (torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 2), torch.zeros(1, 4, 2))


@pytest.fixture(autouse=True)
def _restored() -> object:
    before = dispatch._State.backend
    yield
    dispatch._State.backend = before


def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a compiler."""
    monkeypatch.setattr(native.loader, "load", lambda: "no C++ compiler was found")


def test_a_block_restores_what_was_chosen_before() -> None:
    memgan.use_backend("auto")
    with memgan.use_backend("reference"):
        assert dispatch._State.backend == "reference"
    assert dispatch._State.backend == "auto"
    with pytest.raises(RuntimeError, match="inside"), memgan.use_backend("reference"):
        raise RuntimeError("inside")
    assert dispatch._State.backend == "auto"


def test_a_choice_made_earlier_holds_in_its_block() -> None:
    later = memgan.use_backend("reference")
    memgan.use_backend("auto")
    with later:
        assert dispatch._State.backend == "reference"


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="`name` must be one of auto, reference, native, got 'cuda'"):
        memgan.use_backend("cuda")  # type: ignore[arg-type]


def test_reference_calls_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a kernel was called")

    monkeypatch.setattr(native, "memory_read", never)
    with memgan.use_backend("reference"):
        memgan.memory_read(*ARGUMENTS)


def test_auto_calls_the_kernel_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    if native.unavailable_reason() is not None:
        pytest.skip(f"no native kernels: {native.unavailable_reason()}")
    calls = []
    real = native.memory_read
    monkeypatch.setattr(
        native, "memory_read", lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs)
    )
    memgan.use_backend("auto")
    memgan.memory_read(*ARGUMENTS)
    assert calls


def test_without_kernels_auto_computes_and_native_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch)
    memgan.use_backend("auto")
    assert memgan.memory_read(*ARGUMENTS)[0].shape == (1, 2, 3, 3)
    with pytest.raises(
        memgan.BackendUnavailable, match=r"no C\+\+ compiler was found\. `python -m memgan\.doctor`"
    ):
        memgan.use_backend("native")
    assert dispatch._State.backend == "auto", "a refused choice changes nothing"
    told = memgan.explain_backends("memory_read")
    assert "memory_read: native: no C++ compiler was found" in told


def test_explanations_cover_every_op_and_the_call_at_hand() -> None:
    told = memgan.explain_backends()
    assert all(f"{op}: reference: runs everywhere" in told for op in dispatch.OPS)
    half = [t.half() for t in ARGUMENTS]
    assert "float16" in memgan.explain_backends("memory_read", *half)
    with pytest.raises(ValueError, match="`op` must be one of"):
        memgan.explain_backends("memory_forget")


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


def test_the_environment_sets_the_first_choice() -> None:
    code = "import memgan; print(memgan.explain_backends('memory_read').splitlines()[0])"
    assert in_a_process(code, MEMGAN_BACKEND="reference").stdout.strip() == "chosen: 'reference'"
    wrong = in_a_process(code, MEMGAN_BACKEND="fast")
    assert wrong.returncode != 0
    assert (
        "the environment variable MEMGAN_BACKEND must be one of auto, reference, native, got 'fast'"
        in wrong.stderr
    )


def test_a_library_that_does_not_load_leaves_the_definition_and_its_reason(tmp_path: Path) -> None:
    code = (
        "import memgan, torch; from memgan.backends.native import build; from pathlib import Path; "
        f"path = Path({str(tmp_path)!r}) / build.NAME; "
        "path.write_bytes(b'not a library'); build.build = lambda: (path, None); "
        "print(memgan.memory_read(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 2), torch.zeros(1, 4, 2))[0].shape); "
        "print(memgan.explain_backends('memory_read'))"
    )
    done = in_a_process(code)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([1, 2, 3, 3])" in done.stdout
    if "native: can run" not in done.stdout:  # prebuilt
        assert "cannot be loaded" in done.stdout
        assert done.stderr.count("memgan falls back to plain PyTorch") == 1


def test_where_warnings_are_errors_a_library_that_does_not_load_fails_one_call_only(tmp_path: Path) -> None:
    code = (
        "import memgan, torch, warnings; from memgan.backends.native import build; from pathlib import Path\n"
        f"path = Path({str(tmp_path)!r}) / build.NAME\n"
        "path.write_bytes(b'not a library'); build.build = lambda: (path, None)\n"
        "warnings.simplefilter('error')\n"
        "def call(): return memgan.memory_read(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 2), torch.zeros(1, 4, 2))\n"
        "try: call()\n"
        "except RuntimeWarning: pass\n"
        "print(call()[0].shape)\n"
    )
    done = in_a_process(code)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([1, 2, 3, 3])" in done.stdout


def test_a_compiled_first_call_loads_the_kernels_before_it_traces() -> None:
    code = (
        "import memgan, torch\n"
        "from memgan.backends.native import loader\n"
        "seen = []\n"
        "def backend(graph, inputs):\n"
        "    seen.extend(str(node.target) for node in graph.graph.nodes)\n"
        "    return graph.forward\n"
        "run = torch.compile(lambda r, k: memgan.memory_read(r, k, k)[0], fullgraph=True, backend=backend)\n"
        "run(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 2))\n"
        "print(loader.STATE.reason, any('memory_read_forward' in name for name in seen))\n"
    )
    done = in_a_process(code)
    assert done.returncode == 0, done.stderr
    reason, traced = done.stdout.split()[0], done.stdout.split()[-1]
    assert (reason == "None") == (traced == "True")


def test_a_choice_that_is_used_again_restores_what_held_then() -> None:
    made = memgan.use_backend("reference")
    memgan.use_backend("auto")
    for before in ("auto", "reference", "auto"):
        memgan.use_backend(before)  # type: ignore[arg-type]
        with made:
            assert dispatch._State.backend == "reference"
            with made:
                assert dispatch._State.backend == "reference"
            assert dispatch._State.backend == "reference"
        assert dispatch._State.backend == before
