"""CUB's bounding boxes, from its two text files."""

from __future__ import annotations

from pathlib import Path

from reference_models.dmgan.data.images import Box
from reference_models.dmgan.data.sentences import text_lines
from reference_models.dmgan.errors import DataError


def read_boxes(root: Path) -> dict[str, Box] | None:
    """Key → bounding box, from CUB's two text files; None where the layout has none."""
    folder = root / "CUB_200_2011"
    if not folder.is_dir():
        return None
    names = dict(_table(folder / "images.txt", 1))
    boxes = {}
    for number, values in _table(folder / "bounding_boxes.txt", 4):
        if number not in names:
            raise DataError(f"{folder / 'bounding_boxes.txt'}: image {number} is not in images.txt")
        try:
            box = tuple(float(value) for value in values.split())
        except ValueError as error:
            raise DataError(f"{folder / 'bounding_boxes.txt'}: image {number}: {error}") from error
        boxes[names[number].removesuffix(".jpg")] = box
    return boxes  # type: ignore[return-value]


def _table(path: Path, columns: int) -> list[tuple[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    rows = []
    for place, line in text_lines(path):
        number, _, rest = line.partition(" ")
        if len(rest.split()) != columns:
            raise DataError(f"{path}, line {place}: expected a number and {columns} more, got {line!r}")
        rows.append((number, rest.strip()))
    return rows
