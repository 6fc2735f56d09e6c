"""Asked to stop, a run stops after the step at hand; the same request may reach a process twice."""

from __future__ import annotations

import signal

import pytest

from reference_models.dmgan.training import stopping
from reference_models.dmgan.training.stopping import until_asked_to_stop


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_one_request_that_comes_twice_is_one(kind: signal.Signals) -> None:
    """A terminal or a scheduler tells every process of a run, and torchrun tells its own once more."""
    with until_asked_to_stop() as asked:
        assert not asked()
        signal.raise_signal(kind)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(kind)
        assert asked()


def test_a_later_second_request_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    now = 100.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
    with until_asked_to_stop() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked()
        now += stopping.ONE_REQUEST + 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
