"""What is published: the wheel holds memgan alone, the sdist builds the same wheel."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUPTOOLS = 77  # build-system.requires of pyproject.toml
LITTER = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
SOURCES = ("*.py", "*.cpp", "*.h", "*.cu", "*.cuh", "py.typed")


def python(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def wheel(source: Path, out: Path) -> Path:
    python(
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "-w",
        str(out),
        ".",
        cwd=source,
    )
    (found,) = out.glob("memgan-*.whl")
    return found


def contents(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository without what git ignores, so that a build leaves nothing behind in it."""
    try:
        installed = int(importlib.metadata.version("setuptools").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("a build needs setuptools, which is not installed")
    if installed < SETUPTOOLS:
        pytest.skip(f"a build needs setuptools {SETUPTOOLS}, and {installed} is installed")
    copy = tmp_path_factory.mktemp("source") / "repository"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, copy)
    shutil.copytree(ROOT / "memgan", copy / "memgan", ignore=LITTER)
    for other in ("reference_models", "benchmarks", "tests"):  # a finder that looks too far would find these
        (copy / other).mkdir()
        (copy / other / "__init__.py").touch()
    return copy


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel(source, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_memgan_alone_and_all_of_it(built: Path) -> None:
    names = {name for name in contents(built) if ".dist-info/" not in name and not name.endswith(".so")}
    wanted = {
        str(path.relative_to(ROOT))
        for pattern in SOURCES
        for path in (ROOT / "memgan").rglob(pattern)
        if "__pycache__" not in path.parts
    }
    assert names == wanted
    assert "memgan/py.typed" in names


def test_the_wheel_needs_torch_einops_and_numpy_only(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        facts = Parser().parsestr(archive.read(metadata).decode())
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    needs = [line for line in facts.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(">")[0].strip() for line in needs} == {"torch", "einops", "numpy"}
    assert facts["License-Expression"] == "MIT"


def test_the_wheel_works_where_nothing_else_of_the_repository_is(built: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, 'site')\n"
        "import memgan, torch\n"
        "assert memgan.__file__.endswith('site/memgan/__init__.py'), memgan.__file__\n"
        "memgan.use_backend('reference')\n"
        "print(memgan.DynamicMemory(4, 6)(torch.zeros(2, 4, 8, 8), torch.zeros(2, 5, 6))[0].shape)\n"
    )
    assert "torch.Size([2, 4, 8, 8])" in python("-c", code, cwd=tmp_path)


def test_the_sdist_builds_the_same_wheel(source: Path, built: Path, tmp_path: Path) -> None:
    code = f"import setuptools.build_meta as backend; print(backend.build_sdist({str(tmp_path)!r}))"
    python("-c", code, cwd=source)
    (archive,) = tmp_path.glob("memgan-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert not (unpacked / "reference_models").exists()
    assert contents(wheel(unpacked, tmp_path / "again")) == contents(built)
