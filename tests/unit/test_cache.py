# SPDX-License-Identifier: Apache-2.0
"""The bounded cache."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from qpher_core._cache import BoundedCache


def test_values_are_made_once_and_kept() -> None:
    """A second call for the same key does not make the value again."""
    cache: BoundedCache[str, object] = BoundedCache(2)
    made = [object(), object()]
    assert cache.get("a", lambda _: made[0]) is made[0]
    assert cache.get("a", lambda _: made[1]) is made[0]


def test_what_was_used_longest_ago_goes() -> None:
    """Beyond its size the cache drops the value that nobody used for the longest time."""
    cache: BoundedCache[str, str] = BoundedCache(2)
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda key: key)
    assert cache.get("a", lambda _: "again") == "a"
    assert cache.get("b", lambda _: "again") == "again"


def test_a_failure_is_not_kept() -> None:
    """If making a value fails, the next call tries again."""
    cache: BoundedCache[str, int] = BoundedCache(2)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda _: 1 // 0)
    assert cache.get("a", lambda _: 5) == 5


def test_clearing_gives_everything_back() -> None:
    """Clearing empties the cache and returns what was in it."""
    cache: BoundedCache[str, int] = BoundedCache(3)
    cache.get("a", lambda _: 1)
    cache.get("b", lambda _: 2)
    assert cache.clear() == [1, 2]
    assert cache.clear() == []


def test_racing_makers_agree() -> None:
    """Threads that miss at once all get the value that was kept first."""
    cache: BoundedCache[str, object] = BoundedCache(2)
    barrier = threading.Barrier(8)

    def make(_: str) -> object:
        barrier.wait(timeout=30)
        return object()

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: cache.get("a", make), range(8)))
    assert len(set(map(id, values))) == 1
