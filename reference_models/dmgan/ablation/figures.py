"""The figures of docs/ablation.md: every seed is drawn, pairs are joined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reference_models.dmgan.ablation.arms import ARMS
from reference_models.dmgan.ablation.summary import ENDPOINT, comparisons, number
from reference_models.dmgan.ablation.training import FIRST
from reference_models.dmgan.files import write_atomically

ACCENT, INK, MUTED, LINE = "#c2410c", "#1d1b18", "#6f6a61", "#d8d2c7"
SETTINGS = {
    "svg.hashsalt": "memgan",  # the same lines give the same bytes
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def write_figures(lines: list[dict[str, Any]], folder: Path) -> list[Path]:
    """``ablation_progress.svg`` and, where a claim can be tested, ``ablation_differences.svg``."""
    written = [progress_figure(lines, folder / "ablation_progress.svg")]
    if any(one.worse != FIRST for one in comparisons(lines)):
        written.append(differences_figure(lines, folder / "ablation_differences.svg"))
    return written


def progress_figure(lines: list[dict[str, Any]], path: Path) -> Path:
    """Attribute progress of every run; a thin line joins the runs of a seed, a bar is the arm's mean."""
    figure, axes = _axes(6.4, 3.6)
    runs = [run for run in (FIRST, *ARMS) if any(line["run"] == run for line in lines)]
    for seed in sorted({line["seed"] for line in lines}):
        mine = {line["run"]: 100 * number(line, ENDPOINT) for line in lines if line["seed"] == seed}
        places = [place for place, run in enumerate(runs) if run in mine]
        axes.plot(places, [mine[runs[p]] for p in places], "-o", color=MUTED, lw=0.8, ms=3.5, alpha=0.65)
    for place, run in enumerate(runs):
        values = [100 * number(line, ENDPOINT) for line in lines if line["run"] == run]
        mean = sum(values) / len(values)
        axes.plot([place - 0.22, place + 0.22], [mean, mean], color=ACCENT, lw=2.5, solid_capstyle="round")
    names = {FIRST: "first image,\nenlarged", "write_gate": "write gate", "wide": "wide\nbaseline"}
    axes.set_xticks(range(len(runs)), [names.get(run, run) for run in runs])
    axes.set_ylabel("attribute progress, %")
    axes.tick_params(length=0)
    axes.grid(axis="y", color=LINE, lw=0.6)
    axes.set_axisbelow(True)
    return _save(figure, path)


def differences_figure(lines: list[dict[str, Any]], path: Path) -> Path:
    """Each claim about the memory: its pairs, their mean, and the exact interval."""
    claims = [one for one in comparisons(lines) if one.worse != FIRST]
    figure, axes = _axes(6.4, 0.7 + 0.45 * len(claims))
    for row, one in enumerate(claims):
        low, high, _ = one.exact
        axes.plot([100 * low, 100 * high], [row, row], color=ACCENT, lw=6, alpha=0.22, solid_capstyle="round")
        axes.plot(
            [100 * value for value in one.differences], [row] * len(one.differences), "o", color=MUTED, ms=3.5
        )
        axes.plot(100 * one.mean, row, "o", color=ACCENT, ms=7)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(range(len(claims)), [f"{one.better} − {one.worse}".replace("_", " ") for one in claims])
    axes.set_ylim(len(claims) - 0.5, -0.5)
    axes.set_xlabel("difference of attribute progress, points")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    return _save(figure, path)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(SETTINGS):
        figure = Figure((width, height), layout="constrained", facecolor="white")
        return figure, figure.add_subplot()


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import rc_context

    with rc_context(SETTINGS), write_atomically(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    return path
