# SPDX-License-Identifier: Apache-2.0
"""Splits a batch over threads; the C core releases the GIL, so they compute side by side."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


@functools.cache
def _executor(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="qpher-native")


# A child process has none of its parent's threads.
os.register_at_fork(after_in_child=_executor.cache_clear)


def checked_threads(threads: int) -> int:
    """``threads`` if it is a sensible number of them."""
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"threads must be an integer, not {type(threads).__name__}")
    if not 1 <= threads <= 256:
        raise ValueError(f"threads must be from 1 to 256, not {threads}")
    return threads


def split(
    work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], threads: int
) -> list[Result]:
    """``work(items)``, in ``threads`` runs of neighbours at the same time."""
    if checked_threads(threads) == 1 or len(items) < 2:
        return work(items)
    size = -(-len(items) // threads)
    parts = [items[at : at + size] for at in range(0, len(items), size)]
    return [result for part in _executor(threads).map(work, parts) for result in part]
