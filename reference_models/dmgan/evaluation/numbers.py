"""Numbers that a scoring cannot use, told before it begins."""

from __future__ import annotations

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.judge import SIZE


def at_least(least: int, **numbers: int) -> None:
    """Refuse a number that is less, by its name."""
    for name, value in numbers.items():
        if value < least:
            raise DataError(f"`{name}` must be at least {least}, got {value}")


def check_size(size: int, instead: str) -> None:
    """Refuse images of ``size`` pixels that the birds' networks cannot see; ``instead`` says what can be done."""
    if size < SIZE:
        raise DataError(
            f"the networks that score birds see images of at least {SIZE} pixels, this model's are of {size}: {instead}"
        )
