"""What every command does around its work."""

from __future__ import annotations

import sys
from collections.abc import Callable

from memgan.errors import MemganError
from reference_models.dmgan.allocation import keep_freed_memory
from reference_models.dmgan.errors import DmganError


def run(name: str, main: Callable[[list[str]], int], argv: list[str]) -> int:
    """The exit status of ``main(argv)``; 2, and one sentence on stderr, for an error that the user can mend."""
    keep_freed_memory()  # every command computes
    try:
        return main(argv)
    except (DmganError, FileNotFoundError, MemganError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
