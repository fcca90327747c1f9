# SPDX-License-Identifier: Apache-2.0
"""Calls with a deadline."""

import threading
import time

import pytest

from qpher_core import _deadline
from qpher_core._deadline import call_with_deadline
from qpher_core.permits import Permits


def finish(release: threading.Event) -> None:
    """Let the calls that were left behind end, and wait for it."""
    release.set()
    for thread in threading.enumerate():
        if thread.name == "qpher-deadline":
            thread.join(timeout=30)


def test_an_answer_in_time_comes_back() -> None:
    """A call in time gives its value, also None."""
    assert call_with_deadline(lambda: 5, 10) == 5
    assert call_with_deadline(lambda: None, 10) is None


def test_an_error_comes_back() -> None:
    """A call that raises gives its own error."""
    with pytest.raises(LookupError, match="mine"):
        call_with_deadline(lambda: (_ for _ in ()).throw(LookupError("mine")), 10)


def test_a_late_answer_is_none() -> None:
    """After the deadline the caller goes on; the answer is lost."""
    release = threading.Event()
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        call_with_deadline(lambda: release.wait(30), 0.05)
    assert time.monotonic() - start < 5
    finish(release)


def test_too_many_stuck_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """When earlier calls have not come back, further ones are refused instead of piling up."""
    monkeypatch.setattr(_deadline, "_slots", Permits(2))
    release = threading.Event()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            call_with_deadline(lambda: release.wait(30), 0.01)
    with pytest.raises(TimeoutError, match="earlier calls"):
        call_with_deadline(lambda: 5, 0.01)
    finish(release)
    assert call_with_deadline(lambda: 5, 10) == 5
    finish(release)


def test_waiting_for_earlier_calls_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was let in at the last moment has no second deadline."""
    now = [0.0]

    class AtTheLastMoment(Permits):
        def take(self, seconds: float) -> bool:
            now[0] += seconds
            return True

    monkeypatch.setattr(_deadline, "_slots", AtTheLastMoment(0))
    monkeypatch.setattr(_deadline, "monotonic", lambda: now[0])
    release = threading.Event()
    with pytest.raises(TimeoutError, match="10 s"):
        call_with_deadline(lambda: release.wait(2), 10)
    finish(release)
