"""Line charts and range bars as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from reference_models.dmgan.report.data import Chart, Metric, Panel, Series
from reference_models.dmgan.report.markup import Markup, el

WIDTH, HEIGHT = 560, 230  # of a chart, in SVG units
LEFT, RIGHT, TOP, BOTTOM, GAP = 44, 12, 12, 34, 26
POINTS = 240  # at most, a line: more cannot be seen


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that cover ``low`` to ``high``, about ``count`` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def short(value: float) -> str:
    """A number for an axis: 1.5k, 400k, 2M, 0.25."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def thinned(series: Series) -> Series:
    """At most :data:`POINTS` points, each the mean of its neighbours; the ends stay where they are."""
    count = len(series.x)
    if count <= POINTS:
        return series
    edges = [round(index * count / POINTS) for index in range(POINTS + 1)]
    x, y = [], []
    for start, end in zip(edges, edges[1:]):
        known = [value for value in series.y[start:end] if math.isfinite(value)]
        if known:
            x.append(sum(series.x[start:end]) / (end - start))
            y.append(sum(known) / len(known))
    return Series(series.name, tuple(x), tuple(y))


def smoothed(y: Sequence[float], weight: float) -> list[float]:
    """Exponential average that starts unbiased."""
    total, norm, result = 0.0, 0.0, []
    for value in y:
        total = weight * total + (1 - weight) * value
        norm = weight * norm + (1 - weight)
        result.append(total / norm)
    return result


def line_chart(chart: Chart) -> Markup:
    """The chart as a ``<figure>``; its data ride along for the hover line."""
    panels = [
        Panel(panel.label, tuple(thinned(line) for line in panel.series if line.x), panel.live)
        for panel in chart.panels
    ]
    panels = [panel for panel in panels if panel.series]
    values = sorted(v for p in panels for line in p.series for v in line.y if math.isfinite(v))
    if not values:
        return Markup("")
    # A few outliers (the first steps) must not flatten the rest.
    low, high = min(0.0, _at(values, 0.01)), _at(values, 0.99)
    high = high + 0.06 * (high - low) if high > low else low + 1
    share = [0.38 if panel.live and len(panels) > 1 else 1.0 for panel in panels]
    room = WIDTH - LEFT - RIGHT - GAP * (len(panels) - 1)
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.series))
    bottom = HEIGHT - BOTTOM

    def y_of(value: float) -> float:
        return bottom - (min(max(value, low), high) - low) / (high - low) * (bottom - TOP)

    parts: list[Markup] = []
    left = float(LEFT)
    for index, panel in enumerate(panels):
        width = room * share[index] / sum(share)
        parts.append(_panel(panel, names, left, width, y_of, ticks(low, high), first=index == 0))
        left += width + GAP
    legend = el(
        "ul",
        (el("li", el("i", class_=f"line-{n % 4}"), name) for n, name in enumerate(names)),
        class_="legend",
    )
    svg = el(
        "svg", parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=chart.title, class_="chart"
    )
    caption = el("figcaption", el("h3", chart.title), el("p", chart.note))
    return el("figure", caption, legend if len(names) > 1 else None, svg, class_="chart-figure")


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, round(share * (len(ordered) - 1))))]


def _panel(
    panel: Panel,
    names: list[str],
    left: float,
    width: float,
    y_of: object,
    y_ticks: list[float],
    *,
    first: bool,
) -> Markup:
    assert callable(y_of)
    low = min(line.x[0] for line in panel.series)
    high = max(line.x[-1] for line in panel.series)
    if high <= low:
        high = low + 1

    def x_of(value: float) -> float:
        return left + (value - low) / (high - low) * width

    bottom = HEIGHT - BOTTOM
    parts: list[Markup] = []
    for tick in y_ticks:
        y = y_of(tick)
        parts.append(el("line", x1=_n(left), x2=_n(left + width), y1=_n(y), y2=_n(y), class_="grid"))
        if first:
            parts.append(el("text", short(tick), x=_n(left - 8), y=_n(y + 3.5), text_anchor="end"))
    marks = ticks(low, high, max(1, round(width / 110)))
    for tick in marks:
        parts.append(
            el("text", short(tick), x=_n(x_of(tick)), y=_n(bottom + 15), text_anchor="middle", class_="tick")
        )
    parts.append(
        el(
            "text",
            panel.label,
            x=_n(left + width / 2),
            y=_n(HEIGHT - 4),
            text_anchor="middle",
            class_="live label" if panel.live else "label",
        )
    )
    data = []
    for line in panel.series:
        kind = names.index(line.name) % 4
        known = [(x, y) for x, y in zip(line.x, line.y) if math.isfinite(y)]
        smooth = smoothed([y for _, y in known], 0.85 if len(known) > 40 else 0.6)
        raw = " ".join(f"{_n(x_of(x))},{_n(y_of(y))}" for x, y in known)
        calm = " ".join(f"{_n(x_of(x))},{_n(y_of(y))}" for (x, _), y in zip(known, smooth))
        parts.append(el("polyline", points=raw, class_=f"raw line-{kind}"))
        parts.append(el("polyline", points=calm, class_=f"calm line-{kind}"))
        data.append(
            {
                "name": line.name,
                "kind": kind,
                "x": [round(x, 2) for x, _ in known],
                "px": [round(x_of(x), 1) for x, _ in known],
                "py": [round(y_of(y), 1) for y in smooth],
                "y": [float(f"{y:.4g}") for y in smooth],
            }
        )
    area = el("rect", x=_n(left), y=TOP, width=_n(width), height=bottom - TOP, class_="hover-area")
    return el("g", parts, area, class_="panel", data_label=panel.label, data_series=json.dumps(data))


def range_bar(metric: Metric) -> Markup:
    """Where a value lies between its floor (left) and its ceiling (right), with the gate's limit."""
    if metric.floor is None or metric.ceiling is None or metric.floor == metric.ceiling:
        return Markup("")
    floor, ceiling = metric.floor, metric.ceiling

    def x_of(value: float) -> float:
        return 100 * min(max(0.0, (value - floor) / (ceiling - floor)), 1.0)  # in this order never -0.0

    parts = [
        el("line", x1=0, x2=100, y1=6, y2=6, class_="track"),
        el("line", x1=0, x2=_n(x_of(metric.value)), y1=6, y2=6, class_="fill"),
    ]
    if metric.interval is not None:
        low, high = (x_of(end) for end in metric.interval)
        parts.append(el("line", x1=_n(low), x2=_n(high), y1=6, y2=6, class_="interval"))
    if metric.limit is not None:
        at = _n(x_of(metric.limit))
        parts.append(el("line", x1=at, x2=at, y1=0, y2=12, class_="limit"))
    label = f"{metric.name}: {number(metric, metric.value)}"
    svg = el("svg", parts, viewBox="0 0 100 12", preserveAspectRatio="none", class_="range")
    dot = el("span", class_="dot", style=f"left:{x_of(metric.value):.2f}%")
    return el("div", svg, dot, class_="range-box", role="img", aria_label=label)


def number(metric: Metric, value: float | None) -> str:
    """``value`` as the metric is written: per cent, or three significant digits."""
    if value is None or not math.isfinite(value):
        return "–"
    if metric.unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
