# SPDX-License-Identifier: Apache-2.0
"""The threads that do the work, and how many requests wait for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from qpher_core.asgi.lanes import Lanes, deadline_passed
from qpher_core.asgi.settings import Settings
from qpher_core.errors import Unavailable

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """The threads of one application. Used on event loops alone."""

    def __init__(self, settings: Settings) -> None:
        self._threads = settings.threads
        self._pool = self._new_pool()
        self._most = settings.threads + settings.waiting
        self._deadline = settings.deadline
        self._lanes: Lanes | None = None
        self.busy = 0

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function gives, in a thread of its own, within the deadline.

        Work that still waits for a thread when the deadline passes is never begun.

        Raises:
            Unavailable: too many requests wait already.
            QpherError: ``ERR_TIMEOUT_001``, the deadline passed.
        """
        self._begin()
        try:
            return await self.go_on(function, *arguments)
        finally:
            self.busy -= 1

    async def go_on(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function gives for an answer that was begun: however many wait.

        Raises:
            QpherError: ``ERR_TIMEOUT_001``, the deadline passed.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline):
                return await loop.run_in_executor(self._pool, function, *arguments)
        except TimeoutError:
            raise deadline_passed() from None

    async def run_together(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function gives that is soon done, in a thread with others of its kind.

        It gets one more argument: see :meth:`Lanes.run`. Raises as :meth:`run`.
        """
        loop = asyncio.get_running_loop()
        lanes = self._lanes
        if lanes is None or lanes.loop is not loop:
            lanes = self._lanes = Lanes(loop, self._pool, self._deadline)
        self._begin()
        try:
            return await lanes.run(function, *arguments)
        finally:
            self.busy -= 1

    def _begin(self) -> None:
        if self.busy >= self._most:
            raise Unavailable("too many requests wait already; try again later")
        self.busy += 1

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="qpher-http")

    def close(self) -> None:
        """Finish what was begun. An application that ended may begin again, on other threads."""
        ended, self._pool, self._lanes = self._pool, self._new_pool(), None
        ended.shutdown(wait=True)
