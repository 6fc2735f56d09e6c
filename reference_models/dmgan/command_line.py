"""What every command does around its work."""

from __future__ import annotations

import sys
from collections.abc import Callable

from memgan.errors import MemganError
from reference_models.dmgan.allocation import keep_freed_memory
from reference_models.dmgan.errors import DmganError


def run(name: str, main: Callable[[list[str]], int], argv: list[str]) -> int:
    """The exit status of ``main(argv)``; 2, and one sentence on stderr, for an error that the user can mend.

    130 where the user stopped it, as a shell says it.
    """
    keep_freed_memory()  # every command computes
    try:
        return main(argv)
    except (DmganError, MemganError, OSError) as error:  # OSError: a file is missing, or in the way
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130
