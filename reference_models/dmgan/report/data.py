"""What a report shows, as plain values: nothing here knows of models, files or HTML.

Axis letters: S image size in pixels, L words, H W the feature size that a refinement starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Reading:
    """What one refinement read from the memory."""

    attention: np.ndarray  # (L, H, W) in [0, 1]; a pixel's words sum to 1
    write_gate: np.ndarray | None = None  # (L,) in [0, 1]; None where the model has no write gate
    response_gate: np.ndarray | None = None  # (H, W) in [0, 1]; None where it has no response gate


@dataclass(frozen=True)
class Drawing:
    """One draw of noise: the first image, each refined one, and what was read on the way."""

    images: tuple[np.ndarray, ...]  # (S, S, 3) uint8 each, lowest resolution first
    readings: tuple[Reading, ...] = ()  # one a refinement, so one fewer than images

    def __post_init__(self) -> None:
        if self.readings and len(self.readings) != len(self.images) - 1:
            raise ValueError(
                f"`readings` must hold one entry a refinement, {len(self.images) - 1} for "
                f"{len(self.images)} images, got {len(self.readings)}"
            )


@dataclass(frozen=True)
class Picture:
    """A caption and its drawings."""

    caption: str  # as it was given
    words: tuple[str, ...]  # L, as the model read them
    drawings: tuple[Drawing, ...]  # the same caption, each with other noise
    unknown: tuple[str, ...] = ()  # words that the vocabulary lacks, so that were not read
    real: np.ndarray | None = None  # (S, S, 3) uint8: a real image that the caption describes


@dataclass(frozen=True)
class Finding:
    """What the judge saw of one attribute before and after a swap."""

    attribute: str
    asked: str  # the value that the new caption asks for
    before: str
    after: str

    @property
    def right(self) -> bool:
        return self.after == self.asked


@dataclass(frozen=True)
class Swap:
    """The same noise with one word changed."""

    caption: str
    word: str
    replacement: str
    before: np.ndarray  # (S, S, 3) uint8
    after: np.ndarray  # (S, S, 3) uint8
    swapped: Finding | None = None  # of the attribute that the word names
    kept: tuple[Finding, ...] = ()  # of the other attributes that the caption names
    words: tuple[str, ...] = ()  # L, of the caption before, as the model read them
    place: int = 0  # of the changed word among them
    drawings: tuple[Drawing, Drawing] | None = None  # before and after, with their readings


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One x axis with its lines."""

    label: str
    series: tuple[Series, ...]
    live: bool = False  # recorded just now rather than read from a log


@dataclass(frozen=True)
class Chart:
    """Panels side by side with one y axis."""

    title: str
    note: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Metric:
    """A score between what a bad model gets and what real images get."""

    name: str
    value: float
    floor: float | None = None  # the worst end: chance, or the wrong captions
    ceiling: float | None = None  # the best end: real images
    better: Literal["higher", "lower"] = "higher"
    unit: Literal["%", ""] = ""
    interval: tuple[float, float] | None = None  # 95 %
    limit: float | None = None  # what the gate asks for; None: not part of the gate
    passed: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Scores:
    """One evaluation."""

    metrics: tuple[Metric, ...]
    passed: bool | None = None  # the joint gate; None where it does not apply
    per_attribute: Mapping[str, Metric] = field(default_factory=dict)
    protocol: Mapping[str, object] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Frames:
    """The same captions and noise at several moments of training."""

    labels: tuple[str, ...]
    rows: tuple[tuple[np.ndarray, ...], ...]  # [moment][caption], (S, S, 3) uint8
    captions: tuple[str, ...]


@dataclass(frozen=True)
class ReportData:
    """Everything on the page; an empty part leaves its section out."""

    title: str
    lede: str
    pictures: tuple[Picture, ...] = ()
    swaps: tuple[Swap, ...] = ()
    charts: tuple[Chart, ...] = ()
    frames: Frames | None = None
    scores: Scores | None = None
    more_scores: tuple[tuple[str, Scores], ...] = ()  # (heading, scores) of other evaluations
    provenance: Mapping[str, object] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
