"""``python -m tests.backends.native.binary``: nvcc compiles the kernels for every shipped architecture.

A fast kernel that spills registers or keeps a stack frame fails the run, and so does a library that needs more than
torch's CPU library and the system's. Both checks are shown what they must see: a kernel that spills, a library that
needs the CUDA runtime.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from memgan.backends.native import build, loader

ALLOWED = re.compile(r"lib(torch_cpu|stdc\+\+|gcc_s|c|m|dl|rt|pthread)\.so[.0-9]*|ld-linux.*")
SPILLS = """
__global__ void __launch_bounds__(1024, 2) planted(float* x, int n) {
  float kept[96];
  for (int i = 0; i < 96; ++i) kept[i] = x[i * n];
  for (int i = 0; i < 96; ++i) x[i * n + int(kept[i]) % 96] = kept[95 - i] * kept[int(x[i]) % 96];
}
"""


@dataclass(frozen=True)
class Kernel:
    """What ptxas says of one kernel on one architecture."""

    name: str
    architecture: str
    stack: int  # bytes
    spills: int  # bytes stored and loaded
    registers: int
    shared: int  # bytes that are not dynamic

    @property
    def must_be_lean(self) -> bool:
        """Of the kernels for any sizes no more is asked than right results."""
        return "generic" not in self.name


class CudaAlone(build.Plan):
    """The same commands without the CPU's kernels, which other checks build."""

    def sources(self) -> list[Path]:
        return [path for path in super().sources() if path.suffix == ".cu"]


def kernels(words: str) -> list[Kernel]:
    """From the words of nvcc with -Xptxas=-v."""
    pattern = re.compile(
        r"Compiling entry function '(\S+)' for 'sm_(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)",
        re.DOTALL,
    )
    found = []
    for name, architecture, stack, stores, loads, registers, rest in pattern.findall(words):
        shared = re.search(r"(\d+) bytes smem", rest)
        found.append(
            Kernel(
                readable(name),
                architecture,
                int(stack),
                int(stores) + int(loads),
                int(registers),
                int(shared[1]) if shared else 0,
            )
        )
    return found


def readable(name: str) -> str:
    """As it is written in the source, where there is a tool to tell."""
    if shutil.which("c++filt") is None:
        return name
    told = subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()
    return re.sub(r"memgan::cuda::|^void |\(.*", "", told)


def needed(library: Path) -> list[str]:
    """Libraries that the loader would look for."""
    told = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", told)


def surplus(library: Path) -> list[str]:
    """Those that it must not need."""
    return [name for name in needed(library) if not ALLOWED.fullmatch(name)]


def table(found: list[Kernel]) -> str:
    """One row a kernel: registers on each architecture, and what is wrong."""
    architectures = list(dict.fromkeys(kernel.architecture for kernel in found))
    names = list(dict.fromkeys(kernel.name for kernel in found))
    lines = [
        f"{'registers':56s}" + "".join(f"{'sm_' + name:>8s}" for name in architectures) + "   stack, spills"
    ]
    for name in names:
        of = {kernel.architecture: kernel for kernel in found if kernel.name == name}
        bytes_ = ", ".join(
            f"sm_{k.architecture} {k.stack}, {k.spills}" for k in of.values() if k.stack or k.spills
        )
        row = "".join(f"{of[at].registers if at in of else '':>8}" for at in architectures)
        lines.append(f"{name:56s}{row}   {bytes_}")
    return "\n".join(lines)


def see_planted(plan: build.Plan, folder: Path) -> int:
    """How many of the two checks miss what they are shown."""
    assert plan.toolkit is not None
    source = folder / "planted.cu"
    source.write_text(SPILLS)
    of_one = replace(plan, architectures=plan.architectures[-1:])
    command = [*of_one.command(source, folder / "planted.o"), "-Xptxas=-v"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (planted,) = kernels(done.stdout + done.stderr)
    seen = planted.must_be_lean and planted.stack > 0
    print(f"planted: a kernel with a stack frame of {planted.stack} bytes: {'seen' if seen else 'MISSED'}")
    if shutil.which("readelf") is None:
        return int(not seen)
    library = folder / "planted.so"
    runtime = next(plan.toolkit.libraries.glob("libcudart.so*"), None)
    if runtime is None:
        print("planted: a library that needs the CUDA runtime: unavailable (no libcudart.so)")
        return int(not seen)
    command = [*shlex.split(plan.compiler), "-shared", "-Wl,--no-as-needed", str(runtime), "-o", str(library)]
    subprocess.run(command, check=True)
    told = surplus(library)
    print(f"planted: a library that needs {', '.join(told)}: {'seen' if told else 'MISSED'}")
    return int(not seen) + int(not told)


def main() -> int:
    """0: all is as it must be, or nvcc is not here, which is said."""
    try:
        plan = build.plan(for_all_machines=True)
    except build.BuildError as error:
        print(f"unavailable: {error}")
        return 0
    if plan.toolkit is None:
        print(f"unavailable: nvcc, so no CUDA kernel is compiled ({plan.without_cuda})")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        alone = CudaAlone(plan.compiler, plan.toolkit, plan.architectures)
        try:
            found = kernels(build.build_into(folder, alone, "-Xptxas=-v"))
        except build.BuildError:
            print((folder / build.LOG).read_text()[-8000:])
            return 1
        print(table(found))
        wrong = [kernel for kernel in found if kernel.must_be_lean and (kernel.stack or kernel.spills)]
        for kernel in wrong:
            print(f"FAILED: {kernel.name} spills or keeps a stack frame on sm_{kernel.architecture}")
        missed = see_planted(plan, folder)
        too_much: list[str] = []
        if shutil.which("readelf") is None:
            print("unavailable: readelf, so nobody looked at what the library needs")
        else:
            reason = loader.load()  # the library with the CPU's kernels, where one is built
            for library in (folder / build.NAME, *([loader.STATE.path] if reason is None else [])):
                assert library is not None
                told = surplus(library)
                print(
                    f"{library.name} needs {', '.join(needed(library))}: {'too much' if told else 'as it must'}"
                )
                too_much += told
        try:
            torch.ops.load_library(str(folder / build.NAME))
            print(f"it loads in torch {torch.__version__}")
        except OSError as error:
            print(f"FAILED: it does not load in torch {torch.__version__}: {error}")
            too_much.append("symbols that this torch has not")
    return int(not found or bool(wrong or missed or too_much))


if __name__ == "__main__":
    sys.exit(main())
