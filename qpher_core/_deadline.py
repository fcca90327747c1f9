# SPDX-License-Identifier: Apache-2.0
"""Calling code that may hang."""

import queue
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, TypeVar

from qpher_core.permits import Permits

T = TypeVar("T")

#: Calls that may be stuck at once, over the whole process, before further ones are refused.
_MOST_STUCK: Final = 64
_slots: Final = Permits(_MOST_STUCK)


def call_with_deadline(function: Callable[[], T], seconds: float) -> T:
    """Return ``function()``, or raise ``TimeoutError`` after ``seconds``, all waiting included.

    A thread that does not come back is left behind (Python cannot end it); it is a daemon, so
    that it cannot keep the process alive either.
    """
    ends = monotonic() + seconds
    if not _slots.take(seconds):
        raise TimeoutError("too many earlier calls have not come back")
    answers: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((function(), None))
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            answers.put((None, error))
        finally:
            _slots.give_back()

    try:
        threading.Thread(target=run, daemon=True, name="qpher-deadline").start()
    except RuntimeError:  # no more threads: run() will not release the slot
        _slots.give_back()
        raise
    try:
        # What is left: the wait for the slot counts, too.
        value, error = answers.get(timeout=max(0.0, ends - monotonic()))
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # no error, so it is a T
