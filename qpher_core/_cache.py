# SPDX-License-Identifier: Apache-2.0
"""A small bounded cache, shared between threads, that drops what was used longest ago."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """At most ``size`` values. A value may be made twice when two threads miss at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[K], V]) -> V:
        """Return the cached value, or make it from the key, keep and return it."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        value = make(key)
        with self._lock:
            kept = self._items.setdefault(key, value)
            while len(self._items) > self._size:
                self._items.popitem(last=False)
        return kept

    def discard(self, key: K) -> V | None:
        """Drop one value and return it, if it is there."""
        with self._lock:
            return self._items.pop(key, None)

    def clear(self) -> list[V]:
        """Empty the cache and return what was in it."""
        with self._lock:
            values = list(self._items.values())
            self._items.clear()
        return values
