"""Stored results → the tables of docs/speed.md, with what was asked beside what was reached."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.model.report import stored
from reference_models.dmgan.pages import fill, markdown

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
FIGURE = PAGE.parent / "figures" / "model_cpu.svg"
Row = dict[str, Any]
# (task, form) → at least so many times as fast as the plain form, on two cores.
GOALS = {
    ("sampling", "fast, float32"): 2.0,
    ("sampling", "fast, bfloat16"): 4.0,
    ("training step", "fast, float32"): 1.5,
    ("training step", "fast, bfloat16"): 2.5,
    ("words loss", "fast, float32"): 4.0,
}


def publish(results: Path, page: Path = PAGE, figure: Path = FIGURE) -> None:
    """Fill the page and copy the plot from what the folder ``results`` holds; other parts stay as they are."""
    parts = {
        "model_cpu.jsonl": {"measured": measured, "profile": profile_table},
        "model_cpu_ladder.jsonl": {"tricks": ladder_table},
        "model_cpu_compile.jsonl": {"compiled": compiled_table},
        "model_cpu_between.jsonl": {"between": between_table},
        "model_cpu_exact.jsonl": {"exact": exact_sentence},
    }
    for name, tables in parts.items():
        if (results / name).is_file():
            rows = stored(results / name)
            for mark, table in tables.items():
                fill(page, mark, f"{provenance(rows)}\n\n{table(rows)}")
    if (results / "model_cpu.svg").is_file():
        shutil.copyfile(results / "model_cpu.svg", figure)


def measured(rows: list[Row]) -> str:
    """The table of forms, and their plot."""
    return f"{forms_table(rows)}\n\n![Seconds of each form: convolutions and the rest](figures/{FIGURE.name})"


def provenance(rows: list[Row]) -> str:
    """What made the numbers: a sentence a run."""
    told = []
    for row in rows:
        busy = row["load"] > 0.5 * row["cores"]
        told.append(
            f"{row['machine']}, {row['threads']} of {row['cores']} cores, "
            f"torch {row['torch']}, commit {row['commit']}, {row['time'][:16]}; load average before: {row['load']:.1f}"
            f"{', so other work took part of the cores: trust the ratios of CPU time' if busy else ''}."
        )
    return "\n".join(dict.fromkeys(told))


def _memory(row: Row) -> str:
    return "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e9:.2f} GB"


def _times(row: Row) -> str:
    return f"{row['wall_s']:.2f} s ({row['cpu_s']:.2f} s)"


def _ratio(row: Row, over: float = 1.0, over_cpu: float = 1.0) -> str:
    return f"{row['times_plain'] / over:.2f} ({row['times_plain_cpu'] / over_cpu:.2f})"


def forms_table(rows: list[Row]) -> str:
    """Asked and reached."""
    body = []
    for row in rows:
        goal = GOALS.get((row["task"], row["form"]))
        met = "" if goal is None else "yes" if row["times_plain"] >= goal else "**no**"
        far = "" if row["difference"] is None else f"{row['difference']:.1e}"
        body.append([
            f"{row['task']}, batch {row['batch']}", row["form"], _times(row), _ratio(row),
            "" if goal is None else f"{goal:g}", met, f"{row['images_per_second']:.2f}", _memory(row), far,
        ])  # fmt: skip
    head = ["task", "form", "wall (CPU)", "times plain: wall (CPU)", "asked", "met", "images/s", "peak memory",
            "difference"]  # fmt: skip
    return markdown(head, body)


def profile_table(rows: list[Row]) -> str:
    """Where the time goes."""
    body = []
    for row in rows:
        largest = ", ".join(
            f"`{name}` {100 * share:.0f} %" for name, share in list(row["largest"].items())[:6]
        )
        body.append([row["task"], row["form"], f"{100 * row['convolutions']:.0f} %", largest])
    return markdown(["task", "form", "in convolutions", "largest operations"], body)


def ladder_table(rows: list[Row]) -> str:
    """What each step adds to the one before it."""
    body, before = [], rows[0]
    for row in rows:
        first = row["form"] == "plain"
        gain = "" if first else _ratio(row, before["times_plain"], before["times_plain_cpu"])
        body.append([f"{row['task']}, batch {row['batch']}", row["form"], _times(row), gain,
                     "" if first else _ratio(row), _memory(row)])  # fmt: skip
        before = row
    head = [
        "task",
        "form",
        "wall (CPU)",
        "times the row above: wall (CPU)",
        "times plain: wall (CPU)",
        "peak memory",
    ]
    return markdown(head, body)


def compiled_table(rows: list[Row]) -> str:
    """The same forms with and without ``torch.compile``."""
    body = [
        [
            f"{row['task']}, batch {row['batch']}",
            row["form"],
            f"{row['first_s']:.0f} s",
            *(["not ready by then", ""] if row["wall_s"] is None else [_times(row), _ratio(row)]),
        ]
        for row in rows
    ]
    return markdown(["task", "form", "first run", "wall (CPU)", "times plain: wall (CPU)"], body)


def exact_sentence(rows: list[Row]) -> str:
    """Both forms in float64."""
    row = rows[0]
    zero = (
        f"; {row['zero']} are zero, in both forms to {row['zero_left']:.0e} of the largest"
        if row["zero"]
        else ""
    )
    return (
        f"In float64 the gradients of all {row['parameters']} parameters agree to {row['worst']:.0e} "
        f"(the worst: `{row['worst_name']}`){zero}."
    )


def between_table(rows: list[Row]) -> str:
    """bfloat16 beside another seed."""
    told = f"{rows[0]['images']:,} captions, {rows[0]['model']}, SceneNet's features."
    body = [[row["pair"], f"{row['fid']:.4f}", f"{row['mean_difference']:.2f} of 255"] for row in rows]
    return f"{told}\n\n{markdown(['images of the same captions', 'FID', 'mean difference of a pixel'], body)}"
