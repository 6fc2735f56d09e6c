"""The optional prebuilt kernels; everything else is in pyproject.toml.

``pip install .`` needs no compiler and makes a py3-none-any wheel, whose kernels are built at first use. With
``MEMGAN_BUILD_NATIVE=1 pip wheel --no-deps --no-build-isolation .`` (the torch that is installed gives the headers)
the wheel holds the library: py3-none-<platform>, for every Python, because it uses torch's stable ABI and nothing of
CPython.
Where there is a CUDA toolkit it holds the CUDA kernels too, and still loads where there is no CUDA.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

PREBUILT = os.environ.get("MEMGAN_BUILD_NATIVE") == "1"
NATIVE = Path("memgan", "backends", "native")


def _build_module() -> ModuleType:
    """``memgan.backends.native.build`` alone: its packages stand empty here, for they import what a build has not."""
    for name in ("memgan", "memgan.backends", "memgan.backends.native"):
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [str(Path(__file__).parent.joinpath(*name.split(".")))]
    return importlib.import_module("memgan.backends.native.build")


class BuildWithKernels(build_py):
    """Copies the package, then builds the library beside it."""

    def run(self) -> None:
        super().run()
        if PREBUILT:
            root = Path(__file__).parent if self.editable_mode else Path(self.build_lib)
            build = _build_module()
            plan = build.plan(for_all_machines=True)
            print(f"kernels for {' '.join(plan.architectures) or f'the CPU alone: {plan.without_cuda}'}")
            build.build_into(root / NATIVE, plan)


class PlatformWheel(bdist_wheel):
    """py3-none-<platform>, where the wheel holds the library."""

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if PREBUILT else (python, abi, platform)


class KernelDistribution(Distribution):
    """Says that there is machine code, so that the wheel is not taken for a pure one."""

    def has_ext_modules(self) -> bool:
        return PREBUILT


setup(
    distclass=KernelDistribution,
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel},
)
