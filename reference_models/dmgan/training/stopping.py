"""Ctrl-C and SIGTERM (preemption) end a run after the step at hand, saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def until_asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether the process was asked to stop.

    Asked a second time it stops at once: the last checkpoint stands. Outside the main thread nothing is caught.
    """
    asked = False

    def remember(kind: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {kind: signal.signal(kind, remember) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
