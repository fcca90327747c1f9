# SPDX-License-Identifier: Apache-2.0
"""How many may do something at once."""

import queue

__all__ = ["Permits"]


class Permits:
    """A number of permits that are taken and given back. Thread-safe.

    Not a semaphore: those are written in Python, and one that Ctrl-C stops half-way through stays
    locked for ever.
    """

    def __init__(self, most: int) -> None:
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(most):
            self._free.put(None)

    def take(self, seconds: float) -> bool:
        """Take a permit; return whether there was one within ``seconds``."""
        try:
            self._free.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    def give_back(self) -> None:
        """Give one back that was taken."""
        self._free.put(None)
