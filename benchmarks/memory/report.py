"""Rows of measurements → a table, a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

RATES = ("% copy", "% gemm", "% floor")
HEAD = f"{'':28s}{'ms':>9s}{'quartiles':>18s}{'x ours':>8s}{'x clone':>9s}" + "".join(
    f"{name:>8s}" for name in (*RATES, "peak MB")
)


def table(rows: list[dict[str, Any]]) -> str:
    """For people: one case and mode."""
    case = rows[0]["case"]
    sizes = "B {images}, C {channels}, L {words}, {size}*{size}".format(**case)
    lines = [f"\n{rows[0]['mode']}, {sizes}, {case['dtype']}, {case['device']}", HEAD]
    for row in rows:
        low, high = row["quartiles_ms"]
        rates = "".join(
            f"{row[name] or float('nan'):8.0f}"
            for name in ("percent_of_copy", "percent_of_gemm", "percent_of_floor")
        )
        lines.append(
            f"{row['provider']:28s}{row['median_ms']:9.2f}{f'{low:.2f} - {high:.2f}':>18s}{row['times_ours']:8.2f}"
            f"{row['times_clone']:9.2f}{rates}{row['peak_mb']:8.1f}"
        )
    return "\n".join(lines)


def print_pages(rows: list[dict[str, Any]]) -> None:
    """For people: what fresh and used pages cost."""
    for row in rows:
        print(
            f"{row['case']['name']:16s} {row['mode']:22s} {row['provider']:14s} {row['median_ms']:7.2f} ms, "
            f"{row['times_clone']:.2f} x clone, {row['faults']} page faults"
        )


def _label(row: dict[str, Any]) -> str:
    case = row["case"]
    return case["name"] if case["dtype"] == "float32" else f"{case['name']}, {case['dtype']}"


def plot(rows: list[dict[str, Any]], facts: dict[str, Any], path: Path) -> None:
    """Bars: every provider's time as a multiple of ours."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    modes = list(dict.fromkeys(row["mode"] for row in rows))
    names = list(dict.fromkeys(_label(row) for row in rows))
    providers = list(dict.fromkeys(row["provider"] for row in rows))
    figure, axes = pyplot.subplots(
        1, len(names), figsize=(4.5 * len(names), 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    width = 0.8 / len(providers)
    for axis, name in zip(axes[0], names):
        for place, provider in enumerate(providers):
            heights = {
                row["mode"]: row["times_ours"]
                for row in rows
                if (_label(row), row["provider"]) == (name, provider)
            }
            at = [modes.index(mode) + (place - (len(providers) - 1) / 2) * width for mode in heights]
            bars = axis.bar(at, list(heights.values()), width, label=provider)
            axis.bar_label(bars, fmt="%.1f", fontsize=6)
        axis.set_title(name)
        axis.set_xticks(range(len(modes)), [mode.replace("+", "\n+ ").replace(" b", "\nb") for mode in modes])
        axis.set_yscale("log")
    axes[0][0].set_ylabel("time, as a multiple of memgan native")
    axes[0][-1].legend(fontsize=7)
    on_cpu = rows[0]["case"]["device"] == "cpu"
    machine = f"{facts['machine']}, {facts['threads']} threads" if on_cpu else facts["gpu"]
    kinds = ", ".join(dict.fromkeys(row["case"]["dtype"] for row in rows))
    figure.suptitle(f"memory_refine, {kinds}, {machine}", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
