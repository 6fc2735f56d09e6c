"""Rows of measurements → a table for the terminal, and a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.model.forms import FORMS

Row = dict[str, Any]
HEAD = f"{'':40s}{'s':>9s}{'CPU s':>9s}{'x plain':>9s}{'x CPU':>8s}{'images/s':>10s}{'peak MB':>9s}{'% conv':>8s}"


def stored(path: Path) -> list[Row]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def beside_others(rows: list[Row], path: Path) -> list[Row]:
    """``rows`` with what ``path`` holds of other tasks, in the order of the tasks."""
    tasks = {row["task"] for row in rows}
    kept = [row for row in stored(path) if row["task"] not in tasks] if path.is_file() else []
    return sorted([*rows, *kept], key=lambda row: list(FORMS).index(row["task"]))


def table(rows: list[Row]) -> str:
    """For people: one task and batch."""
    lines = [f"\n{rows[0]['task']}, batch {rows[0]['batch']}, {rows[0]['device']}", HEAD]
    for row in rows:
        peak = float("nan") if row["peak_bytes"] is None else row["peak_bytes"] / 1e6
        lines.append(
            f"{row['form']:40s}{row['wall_s']:9.3f}{row['cpu_s']:9.3f}{row['times_plain']:9.2f}"
            f"{row['times_plain_cpu']:8.2f}{row['images_per_second']:10.2f}{peak:9.0f}{100 * row['convolutions']:8.0f}"
        )
        largest = ", ".join(f"{name} {100 * share:.0f} %" for name, share in row["largest"].items())
        lines.append(f"    {largest}")
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Bars: seconds of every form, convolutions below and the rest on top, and how many times as fast as plain."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    groups = list(dict.fromkeys((row["task"], row["batch"]) for row in rows))
    tall = max(sum((row["task"], row["batch"]) == group for row in rows) for group in groups)
    figure, axes = pyplot.subplots(
        1, len(groups), figsize=(4.2 * len(groups), 1.2 + 0.45 * tall), squeeze=False, layout="constrained"
    )
    for axis, (task, batch) in zip(axes[0], groups):
        mine = [row for row in rows if (row["task"], row["batch"]) == (task, batch)]
        names, seconds = [row["form"] for row in mine], [row["wall_s"] for row in mine]
        convolutions = [row["wall_s"] * row["convolutions"] for row in mine]
        axis.barh(names, convolutions, color="#4269d0", label="convolutions")
        rest = [a - b for a, b in zip(seconds, convolutions)]
        bars = axis.barh(names, rest, left=convolutions, color="#efb118", label="the rest")
        axis.bar_label(bars, [f" {row['times_plain']:.1f} ×" for row in mine], fontsize=8)
        axis.set_xlim(0, 1.18 * max(seconds))
        axis.invert_yaxis()
        axis.set_title(f"{task}, batch {batch}", fontsize=10)
        axis.set_xlabel("seconds")
    axes[0][0].legend(fontsize=7, loc="lower right")
    facts = rows[-1]
    figure.suptitle(f"{facts['machine']}, {facts['threads']} threads, torch {facts['torch']}", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
