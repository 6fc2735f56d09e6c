"""A result of ``evaluate`` → the report's scores."""

from __future__ import annotations

import math
from collections.abc import Callable
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
                _value(block["progress"]),
                0.0,
                1.0,
                unit="%",
                interval=_pair(block.get("progress_interval")),
                note="how far accuracy has come from its floor to real images'",
                **gated("attribute progress"),
            ),
            Metric(
                "attribute accuracy",
                _value(block["accuracy"]),
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
                _value(block["value"]),
                block["chance"],
                block["real"],
                unit="%",
                note=f"the true caption found among {protocol.get('distractors') or 99} false ones",
                **gated("R-precision"),
            )
        )
    among = scores.get("among_answers", scores)
    metrics += _distribution(among, _AMONG_ANSWERS if among is not scores else _AMONG_REAL, gated)
    if among is not scores:
        metrics += _distribution(scores, _AMONG_SPECIES, lambda _: {}, floor=None)
    return Scores(
        tuple(metrics),
        result.get("gate", {}).get("passed"),
        _per_attribute(scores.get("attributes", {}).get("per_attribute", {})),
        protocol,
        note,
    )


# score: what it is called and what it says
_AMONG_REAL = {
    "precision": ("precision", "generated images that lie among real ones"),
    "recall": ("recall", "real images that lie among generated ones"),
    "fid": ("FID", "distance to real images in SceneNet's features; smaller is better"),
    "kid": ("KID", "distance to real images in SceneNet's features; smaller is better"),
}
_AMONG_ANSWERS = {
    "precision": ("precision", "generated images that lie among real birds of which the captions are true"),
    "recall": ("recall", "real birds of which the captions are true that lie among generated ones"),
    "fid": ("FID", "distance to real birds of which the captions are true, in SceneNet's features"),
}
_AMONG_SPECIES = {
    "precision": ("precision, species", "among the captions' species; captions do not tell the rest of them"),
    "recall": ("recall, species", "of the captions' species"),
    "fid": ("FID, species", "distance to the captions' species; smaller is better"),
    "kid": ("KID, species", "distance to the captions' species; smaller is better"),
}


def _distribution(
    scores: dict[str, Any],
    names: dict[str, tuple[str, str]],
    gated: Callable[[str], dict[str, Any]],
    floor: float | None = 0.0,
) -> list[Metric]:
    """Precision and recall from their ``floor`` to what real birds reach; distances beside real birds'.

    The ceiling is that of right answers where it was measured: no model can know more than its captions.
    """
    metrics = []
    for name, (label, note) in names.items():
        if (block := scores.get(name)) is not None:
            best = block.get("answers", block.get("real"))
            share = name in ("precision", "recall")
            metrics.append(
                Metric(
                    label,
                    _value(block["value"]),
                    floor if share else None,
                    best,
                    unit="%" if share else "",
                    better="higher" if share else "lower",
                    note=note,
                    **gated(name),
                )
            )
    return metrics


def _per_attribute(table: dict[str, dict[str, float | None]]) -> dict[str, Metric]:
    return {
        name: Metric(name, row["accuracy"], row["floor"], row["ceiling"], unit="%")
        for name, row in table.items()
        if row.get("accuracy") is not None
    }


def _value(stored: float | None) -> float:
    """None: what was stored was not a number."""
    return math.nan if stored is None else stored


def _pair(values: list[float | None] | None) -> tuple[float, float] | None:
    if values is None or values[0] is None or values[1] is None:
        return None
    return values[0], values[1]
