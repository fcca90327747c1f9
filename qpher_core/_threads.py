# SPDX-License-Identifier: Apache-2.0
"""The threads beside the event loop that ``kms.aio`` runs its calls on."""

import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

__all__ = ["Threads"]

R = TypeVar("R")

#: Calls that run at once; more of them wait. Most of a call is waiting for a durable commit.
_THREADS: Final = 32


class Threads:
    """The threads that calls run on, made when the first one comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    async def run(self, call: Callable[[], R]) -> R:
        """Run a call on a thread, in the context of the task.

        Cancelled while it waits for a thread, it never runs; afterwards, it ends without a
        listener.
        """
        import asyncio  # noqa: PLC0415 - its 6 MB are for those that have an event loop

        inside = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        with self._lock:  # so that no pool is closed between being found and being used
            future = loop.run_in_executor(self._made(), partial(inside.run, call))
        return await future

    def close(self) -> None:
        """Wait for the calls under way. Idempotent; later calls have threads of their own."""
        with self._lock:
            pool, self._pool = self._own(), None
        if pool is not None:
            pool.shutdown()

    def _made(self) -> ThreadPoolExecutor:
        self._pool = self._own() or ThreadPoolExecutor(_THREADS, thread_name_prefix="qpher-aio")
        return self._pool

    def _own(self) -> ThreadPoolExecutor | None:
        """Return the pool, unless its threads were left behind in the process that forked."""
        before, self._process = self._process, os.getpid()
        return self._pool if before == self._process else None
