"""A result of ``evaluate`` → the report's scores."""

from __future__ import annotations

from typing import Any

from reference_models.dmgan.report.data import Metric, Scores


def scores_of(result: dict[str, Any], note: str = "") -> Scores:
    """The report's view of a result; what it lacks (attributes, R-precision, a gate) is left out."""
    scores, protocol = result["scores"], result["protocol"]
    terms = result.get("gate", {}).get("terms", {})

    def gated(name: str) -> dict[str, Any]:
        term = terms.get(name)
        return {} if term is None else {"limit": term["limit"], "passed": term["passed"]}

    metrics: list[Metric] = []
    if (block := scores.get("attributes")) is not None:
        metrics += [
            Metric(
                "attribute progress",
                block["progress"],
                0.0,
                1.0,
                unit="%",
                interval=_pair(block.get("progress_interval")),
                note="how far accuracy has come from its floor to real images'",
                **gated("attribute progress"),
            ),
            Metric(
                "attribute accuracy",
                block["accuracy"],
                block["floor"],
                block["ceiling"],
                unit="%",
                interval=_pair(block.get("accuracy_interval")),
                note="of the values that captions name; floor: other species' captions",
            ),
        ]
    if (block := scores.get("r_precision")) is not None:
        metrics.append(
            Metric(
                "R-precision",
                block["value"],
                block["chance"],
                block["real"],
                unit="%",
                note=f"the true caption found among {protocol.get('distractors') or 99} false ones",
                **gated("R-precision"),
            )
        )
    for name, note_ in (
        ("precision", "generated images that lie among real ones"),
        ("recall", "real images that lie among generated ones"),
    ):
        if name in scores:
            real = scores[name].get("real")
            metrics.append(
                Metric(name, scores[name]["value"], 0.0, real, unit="%", note=note_, **gated(name))
            )
    for name, label in (("fid", "FID"), ("kid", "KID")):
        if name in scores:
            metrics.append(
                Metric(
                    label,
                    scores[name]["value"],
                    None,
                    scores[name].get("real"),
                    better="lower",
                    note="distance to real images in SceneNet's features; smaller is better",
                )
            )
    return Scores(
        tuple(metrics),
        result.get("gate", {}).get("passed"),
        _per_attribute(scores.get("attributes", {}).get("per_attribute", {})),
        protocol,
        note,
    )


def _per_attribute(table: dict[str, dict[str, float | None]]) -> dict[str, Metric]:
    return {
        name: Metric(name, row["accuracy"], row["floor"], row["ceiling"], unit="%")
        for name, row in table.items()
        if row.get("accuracy") is not None
    }


def _pair(values: list[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])
