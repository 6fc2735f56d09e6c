"""Lines of a training log → the report's charts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from reference_models.dmgan.report.data import Chart, Panel, Series

Line = dict[str, Any]
_DISCRIMINATOR = re.compile(r"d(\d+)")


def charts_of(
    stored: Sequence[Line], live: Sequence[Line] = (), live_label: str = "going on"
) -> tuple[Chart, ...]:
    """Charts of the losses; ``live`` lines, of a run that went on, get a panel of their own beside the stored ones."""
    sizes = _sizes([*stored, *live])
    wanted: list[tuple[str, str, Callable[[str], str | None]]] = [
        (
            "Discriminators",
            "loss of each image size; 1.39 is a coin's guess",
            lambda key: f"{key[1:]} px" if _DISCRIMINATOR.fullmatch(key) else None,
        ),
        (
            "Generator",
            "adversarial loss, summed over the sizes",
            lambda key: "generator" if key == "g" else None,
        ),
        (
            "Words and picture",
            "DAMSM: how badly the last picture's regions match its words",
            lambda key: "DAMSM" if key == "damsm" else None,
        ),
        (
            "Who is taken for real",
            "the last discriminator's mean answer",
            lambda key: (
                {f"d{sizes[-1]}_real": "real", f"d{sizes[-1]}_fake": "drawn"}.get(key) if sizes else None
            ),
        ),
    ]
    charts = []
    for title, note, name_of in wanted:
        panels = [
            Panel(label, series, is_live)
            for label, lines, is_live in (("images seen", stored, False), (live_label, live, True))
            if (series := _series(lines, name_of))
        ]
        if panels:
            charts.append(Chart(title, note, tuple(panels)))
    return tuple(charts)


def _series(lines: Sequence[Line], name_of: Callable[[str], str | None]) -> tuple[Series, ...]:
    keys = dict.fromkeys(key for line in lines for key in line)
    found = []
    for key in keys:
        name = name_of(key)
        if name is None:
            continue
        points = [(float(line["images"]), float(line[key])) for line in lines if key in line]
        found.append(Series(name, tuple(x for x, _ in points), tuple(y for _, y in points)))
    return tuple(found)


def _sizes(lines: Sequence[Line]) -> list[int]:
    return sorted({int(m[1]) for line in lines for key in line if (m := _DISCRIMINATOR.fullmatch(key))})
