"""Who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import memgan

ROOT = Path(__file__).parents[1]
STANDARD_AND_OURS = {"memgan", "reference_models", "benchmarks", "tests"}
# Package → what of ours its modules may import; first match counts.
ALLOWED = {
    "memgan/backends/reference": ("memgan.backends.reference",),
    "memgan/backends/native": ("memgan.backends.native", "memgan.backends.reference", "memgan.errors"),
    "memgan/backends": ("memgan.backends", "memgan.errors", "memgan.types"),
    "memgan/ops": (
        "memgan.ops",
        "memgan.backends.dispatch",
        "memgan.backends.reference",
        "memgan.errors",
        "memgan.types",
    ),
    "memgan/layers": ("memgan.layers", "memgan.ops", "memgan.errors", "memgan.types"),
    "memgan": ("memgan",),
    "reference_models": ("memgan", "reference_models"),
    "benchmarks": ("memgan", "reference_models", "benchmarks"),
}
THIRD_PARTY = {
    "memgan/backends/reference": {"torch", "einops"},
    "memgan": {"torch", "einops", "numpy"},
    "reference_models": {
        "torch", "einops", "numpy", "PIL", "safetensors", "rich", "tyro", "matplotlib", "tensorboard"
    },
    "benchmarks": {"torch", "einops", "numpy", "matplotlib", "safetensors", "pytest", "rich"},
}  # fmt: skip
LONGEST = 280


def modules() -> list[Path]:
    found = [
        path for top in ("memgan", "reference_models", "benchmarks") for path in (ROOT / top).rglob("*.py")
    ]
    return sorted(path.relative_to(ROOT) for path in found)


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


@pytest.mark.parametrize("path", modules(), ids=str)
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    import sys

    allowed = next(names for place, names in ALLOWED.items() if path.is_relative_to(place))
    for name in imports(path):
        top = name.split(".")[0]
        if top in STANDARD_AND_OURS:
            inside = any(name == one or name.startswith(f"{one}.") for one in allowed)
            above = any(
                one.startswith(f"{name}.") for one in allowed
            )  # `from memgan.backends import dispatch`
            assert inside or above, f"{path} imports {name}"
        elif top not in sys.stdlib_module_names:
            known = next(names for place, names in THIRD_PARTY.items() if path.is_relative_to(place))
            assert top in known, f"{path} imports {top}"


# Not the benchmarks: kernels are measured one by one.
@pytest.mark.parametrize("path", [p for p in modules() if p.parts[0] == "reference_models"], ids=str)
def test_the_reference_model_uses_memgan_s_public_names_only(path: Path) -> None:
    public = {"memgan", "memgan.errors", "memgan.doctor"} | {
        f"memgan.{name}" for name in (*memgan.__all__, "errors", "doctor", "types")
    }
    public |= {f"memgan.errors.{name}" for name in dir(memgan.errors)} | {
        "memgan.__version__",
        "memgan.types",
    }
    public |= {f"memgan.types.{name}" for name in dir(memgan.types)}
    used = {name for name in imports(path) if name == "memgan" or name.startswith("memgan.")}
    used |= {  # `import memgan`, then memgan.something
        f"memgan.{node.attr}"
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "memgan"
        if not node.attr.startswith("__")  # memgan.__file__: every module has it
    }
    assert used <= public, f"{path} uses {sorted(used - public)}"


@pytest.mark.parametrize("path", modules(), ids=str)
def test_no_file_grows_too_long(path: Path) -> None:
    lines = len((ROOT / path).read_text().splitlines())
    assert lines <= LONGEST, f"{path} has {lines} lines"


def test_one_op_has_one_stem_in_every_place() -> None:
    for op in ("memory_write", "memory_project", "memory_read", "memory_respond", "memory_refine"):
        assert (ROOT / f"memgan/ops/{op}.py").is_file()
        assert (ROOT / f"memgan/backends/reference/{op}.py").is_file()
        assert op in memgan.__all__
