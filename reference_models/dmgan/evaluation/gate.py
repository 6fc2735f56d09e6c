"""One joint answer: is this checkpoint good? All terms must hold at once, for one set of images.

Each term alone can be bought: attributes by mush with the right colours, R-precision by writing the caption
into the texture, precision by showing one perfect bird, recall by noise.

Precision and recall are those among right answers (:mod:`.answers`): a faultless picture of what a caption says passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COUNT = 10_000  # images that the limits are meant for


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What each term must reach."""

    progress: float = 0.6  # of attribute accuracy, from floor to ceiling
    r_precision_gap: float = 0.10  # below real images', as a fraction
    precision: float = 0.5
    recall: float = 0.3


@dataclass(frozen=True)
class Term:
    """One condition of the gate."""

    name: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        """NaN fails."""
        return self.value >= self.limit


@dataclass(frozen=True)
class Gate:
    """The answer and its terms."""

    terms: tuple[Term, ...]

    @property
    def passed(self) -> bool:
        return all(term.passed for term in self.terms)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the answer, and each term with value, limit and how far it is off (negative: missing)."""
        return {
            "passed": self.passed,
            "terms": {
                term.name: {
                    "value": term.value,
                    "limit": term.limit,
                    "margin": term.value - term.limit,
                    "passed": term.passed,
                }
                for term in self.terms
            },
        }


def gate(result: dict[str, Any], limits: Limits | None = None) -> Gate:
    """The gate of a result of the ``embedded`` protocol."""
    limits = limits or Limits()
    scores = result["scores"]
    among = scores["among_answers"]
    return Gate(
        (
            Term("attribute progress", scores["attributes"]["progress"], limits.progress),
            Term(
                "R-precision",
                scores["r_precision"]["value"],
                scores["r_precision"]["real"] - limits.r_precision_gap,
            ),
            Term("precision", among["precision"]["value"], limits.precision),
            Term("recall", among["recall"]["value"], limits.recall),
        )
    )


def reservation(count: int) -> str:
    """What must be said beside the answer for ``count`` images; nothing for as many as the limits are meant for.

    The shipped model's recall is 30.5 % among 10,000 images (its ``evaluation.json``), and higher among 1,000.
    """
    if count >= COUNT:
        return ""
    return f"{count:,} images: the gate is meant for {COUNT:,}, and recall comes out higher among fewer"
