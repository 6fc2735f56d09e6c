"""Ctrl-C and SIGTERM (preemption) end a run after the step at hand, saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ONE_REQUEST = 5.0  # seconds in which a second signal is the first one told again: torchrun passes signals on


@contextmanager
def until_asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether the process was asked to stop.

    Asked again later than ``ONE_REQUEST`` it stops at once: the last checkpoint stands. Outside the main
    thread nothing is caught.
    """
    asked: float | None = None

    def remember(kind: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked is None:
            asked = time.monotonic()
        elif time.monotonic() - asked > ONE_REQUEST:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {kind: signal.signal(kind, remember) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked is not None
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
