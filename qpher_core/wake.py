# SPDX-License-Identifier: Apache-2.0
"""Waking one thread that waits: cheaper than an event, and usable once for each signal."""

import contextlib
import threading

__all__ = ["Wake"]


class Wake:
    """A signal from any thread to one that waits. Signalling twice is signalling once."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        """Wait for a signal, and use it up; return whether there was one in time."""
        return self._lock.acquire(timeout=seconds)

    def signal(self) -> None:
        """Let the waiting thread look again."""
        # Asking first whether it is locked would leave a moment for another thread to signal.
        with contextlib.suppress(RuntimeError):
            self._lock.release()
