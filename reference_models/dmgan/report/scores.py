"""The measured part of the page: the gate's answer, the table of scores, protocol and provenance."""

from __future__ import annotations

from collections.abc import Mapping

from reference_models.dmgan.evaluation.gate import COUNT, reservation
from reference_models.dmgan.report.charts import number, range_bar
from reference_models.dmgan.report.data import Metric, Scores
from reference_models.dmgan.report.markup import Markup, el


def headline(scores: Scores) -> Markup:
    """The terms of the gate as large figures, for the top of the page."""
    terms = [metric for metric in scores.metrics if metric.limit is not None][:4]
    return el(
        "dl",
        (
            el(
                "div",
                el("dt", metric.name),
                el("dd", number(metric, metric.value)),
                el("dd", _against(metric), class_="against"),
            )
            for metric in terms
        ),
        class_="headline",
    )


def verdict(scores: Scores) -> Markup | None:
    """Passed, or which terms are off and by how much; and what is to be said of the number of images."""
    if scores.passed is None:
        return None
    told = reservation(images(scores))
    rest = f" ({told}.)" if told else None
    if scores.passed:
        yes = el("b", "The joint gate is passed: ")
        return el("p", yes, "every term holds at once.", rest, class_="verdict passed")
    off = [m for m in scores.metrics if m.passed is False]
    missed = "; ".join(f"{m.name} {number(m, m.value)}, asked {number(m, m.limit)}" for m in off)
    return el("p", el("b", "The joint gate is not passed: "), missed, ".", rest, class_="verdict failed")


def images(scores: Scores) -> int:
    """How many were scored; where nobody says, as many as the gate is meant for."""
    count = scores.protocol.get("count", COUNT)
    assert isinstance(count, int)
    return count


def table(scores: Scores) -> Markup:
    """Every score between its floor and its ceiling."""
    rows = (
        el(
            "tr",
            el("th", metric.name, el("small", metric.note) if metric.note else None, scope="row"),
            el(
                "td",
                el("b", number(metric, metric.value)),
                el("small", _interval(metric)) if metric.interval else None,
            ),
            el("td", number(metric, metric.floor)),
            el("td", range_bar(metric), class_="bar"),
            el("td", number(metric, metric.ceiling)),
            el("td", _gate(metric)),
            class_=None if metric.passed is None else ("right" if metric.passed else "wrong"),
        )
        for metric in scores.metrics
    )
    head = el("tr", (el("th", name, scope="col") for name in ("", "value", "floor", "", "ceiling", "gate")))
    return el("div", el("table", el("thead", head), el("tbody", rows), class_="scores"), class_="scroll")


def attributes(scores: Scores) -> Markup | None:
    """Accuracy attribute by attribute, best first."""
    if not scores.per_attribute:
        return None
    ordered = sorted(scores.per_attribute.items(), key=lambda pair: -pair[1].value)
    items = (
        el("li", el("span", name), range_bar(metric), el("b", number(metric, metric.value)))
        for name, metric in ordered
    )
    return el("ul", items, class_="attributes")


def protocol(title: str, values: Mapping[str, object]) -> Markup | None:
    """A folded table of settings; nested mappings become dotted names."""
    if not values:
        return None
    rows = (el("tr", el("th", name, scope="row"), el("td", _value(value))) for name, value in _flat(values))
    return el("details", el("summary", title), el("div", el("table", rows, class_="facts"), class_="scroll"))


def _flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    return "–" if value in (None, "") else str(value)


def _interval(metric: Metric) -> str:
    assert metric.interval is not None
    low, high = (number(metric, end).removesuffix(" %") for end in metric.interval)
    return f"{low} to {high}"


def _gate(metric: Metric) -> str:
    if metric.limit is None:
        return ""
    sign = "≥" if metric.better == "higher" else "≤"
    return f"{sign} {number(metric, metric.limit)} {'✓' if metric.passed else '✗'}"


def _against(metric: Metric) -> str:
    sign = "at least" if metric.better == "higher" else "at most"
    return f"{sign} {number(metric, metric.limit)} {'✓' if metric.passed else '✗'}"
