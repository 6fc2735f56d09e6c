"""Stored results → the tables of docs/kernels_measured.md, with what was asked beside what was reached.

::

    python -m benchmarks.memory.publish
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory import pages
from benchmarks.memory.cases import MODES, OURS
from reference_models.dmgan.pages import fill, markdown

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "kernels_measured.md"
Row = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """``column`` of the row of ``provider`` should be at least, or at most, ``bound``."""

    case: str
    mode: str
    column: str
    bound: float
    provider: str = OURS
    at_least: bool = True

    def reached(self, rows: list[Row]) -> float | None:
        """What was measured, None where it was not."""
        wanted = (self.case, self.mode, self.provider)
        found = [
            row[self.column] for row in rows if (row["case"]["name"], row["mode"], row["provider"]) == wanted
        ]
        return found[0] if found else None

    def words(self) -> str:
        """What the number is."""
        if self.column == "times_ours":
            return f"times as fast as {self.provider}"
        return {
            "times_clone": "times the time of `clone`",
            "percent_of_gemm": "percent of the rate of a matrix product",
            "peak_mb": "MB allocated: output, gradients and 8 MB",
        }[self.column]


RELEASED, COMPILED, SDPA = "released formulation", "definition, torch.compile", "SDPA + gate"
BOTH = "forward+backward"
THREADS = 2  # what the goals are for
GOALS = (
    Goal("64*64", "forward", "times_ours", 9, RELEASED),
    Goal("64*64", "forward", "times_ours", 9, SDPA),
    Goal("64*64", "forward", "times_ours", 3.5, COMPILED),
    Goal("64*64", "forward", "percent_of_gemm", 45),
    Goal("64*64", BOTH, "times_ours", 9, RELEASED),
    Goal("64*64", BOTH, "times_ours", 3, COMPILED),
    Goal("64*64", BOTH, "peak_mb", 29.1, at_least=False),  # 2 * 10.5 + 0.1 + 8
    *(Goal("128*128", mode, "times_clone", 1.4, at_least=False) for mode in pages.MODES),
    Goal("128*128", "forward", "times_ours", 8, RELEASED),
    Goal("128*128", "forward", "times_ours", 2, COMPILED),
    Goal("128*128", BOTH, "times_ours", 6, RELEASED),
    Goal("128*128", BOTH, "times_ours", 3, COMPILED),
    Goal("128*128", BOTH, "peak_mb", 92.0, at_least=False),  # 2 * 41.9 + 0.1 + 8
    Goal("CLIP-like 64*64", "forward", "times_ours", 1.7, COMPILED),
)


def publish(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Fill the page from every ``memory_cpu*.jsonl`` of the folder ``results``."""
    stored = {
        path: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(results.glob("memory_cpu*.jsonl"))
    }
    parts = [goals_table([rows for rows in stored.values() if rows[0]["threads"] == THREADS])]
    for path, rows in stored.items():
        parts += [provenance(path, rows[0]), times_table(rows), *pages_table(rows)]
    fill(page, "measured", "\n\n".join(parts))


def provenance(path: Path, row: Row) -> str:
    """What made the numbers."""
    return (
        f"**`{path.name}`**: {row['machine']}, {row['threads']} of {row['cores']} cores, {row['instruction set']}, "
        f"torch {row['torch']}, commit {row['commit']}, {row['time'][:10]}. torch's own 1024³ product ran at "
        f"{row['gemm_gflop_s']:.0f} GFLOP/s, the load average was {row['load']:.1f}"
        f"{': the machine had other work, so the figures are rough' if row['load'] > 1.5 * row['cores'] else ''}."
        f"{' glibc kept freed memory.' if _keeps_memory(row) else ''}"
        " Medians in ms; in brackets, how many times the kernel's."
    )


def goals_table(runs: list[list[Row]]) -> str:
    """Asked, and what each machine's runs reached, bold where that is not enough."""
    machines: dict[str, list[list[Row]]] = {}
    for rows in sorted(runs, key=lambda rows: _keeps_memory(rows[0])):
        machines.setdefault(_machine(rows[0]), []).append(rows)
    body = []
    for goal in GOALS:
        asked = f"{'≥' if goal.at_least else '≤'}\u00a0{goal.bound:g}"
        reached = [" / ".join(_reached(goal, rows) for rows in each) for each in machines.values()]
        if any(cell.strip(" /") for cell in reached):
            body.append([goal.case.replace("*", "\u00a0×\u00a0"), goal.mode, goal.words(), asked, *reached])
    return markdown(["size", "mode", "measure", "asked", *map(_title, machines, machines.values())], body)


def _reached(goal: Goal, rows: list[Row]) -> str:
    value = goal.reached(rows)
    if value is None:
        return ""
    met = value >= goal.bound if goal.at_least else value <= goal.bound
    return f"{value:.1f}" if met else f"**{value:.1f}**"


def _machine(row: Row) -> str:
    name: str = row["machine"].replace("(R)", "").removesuffix(" Processor")
    return name + (", AVX2" if row.get("instruction set") == "avx2" else "")


def _title(machine: str, runs: list[list[Row]]) -> str:
    """Of a machine's column, with what is behind the stroke."""
    return machine + "".join(" / freed memory kept" for rows in runs if _keeps_memory(rows[0]))


def _keeps_memory(row: Row) -> bool:
    return row.get("malloc", {}).get("MALLOC_MMAP_MAX_") == "0"


def times_table(rows: list[Row]) -> str:
    """Medians in milliseconds, and how many times the kernel's."""
    providers = list(dict.fromkeys(row["provider"] for row in rows if row["mode"] in MODES))
    found = {(row["case"]["name"], row["mode"], row["provider"]): row for row in rows}
    body = []
    for case in dict.fromkeys(row["case"]["name"] for row in rows):
        for mode in MODES:
            size = case.replace("*", " × ") if mode == MODES[0] else ""
            body.append([size, mode, *(_time(found.get((case, mode, provider))) for provider in providers)])
    return markdown(["size", "mode", *providers], body)


def pages_table(rows: list[Row]) -> list[str]:
    """The forward beside ``clone`` in fresh and in used pages; nothing where that was not measured."""
    body = [
        [
            row["case"]["name"].replace("*", " × "),
            row["mode"],
            row["provider"],
            f"{row['median_ms']:.{0 if row['median_ms'] >= 100 else 1}f}",
            f"{row['times_clone']:.1f}",
            f"{row['faults']:,}",
        ]
        for row in rows
        if row["mode"] in pages.MODES
    ]
    head = ["size", "mode", "what", "ms", "times `clone`", "page faults"]
    return [markdown(head, body)] if body else []


def _time(row: Row | None) -> str:
    if row is None:
        return ""
    taken = f"{row['median_ms']:.{0 if row['median_ms'] >= 100 else 1}f}"
    return taken if row["provider"] == OURS else f"{taken}\u00a0({row['times_ours']:.1f}\u00a0x)"


if __name__ == "__main__":
    publish()
