# SPDX-License-Identifier: Apache-2.0
"""A service whose every method is called through ``kms.aio``, on an event loop of its own."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any

from qpher_core.aio.crossing import View
from qpher_core.service import Qpher

__all__ = ["Crossed", "crossed"]


class Crossed:
    """Calls the coroutines of a view from threads; what is private is the target's own."""

    def __init__(self, view: View, loop: asyncio.AbstractEventLoop) -> None:
        self._view = view
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._view._target)

    def __dir__(self) -> list[str]:
        return dir(self._view)

    def __reduce__(self) -> str:
        return self._view.__reduce__()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            return getattr(self._view._target, name)
        value = getattr(self._view, name)
        if isinstance(value, View):
            return Crossed(value, self._loop)
        return self._blocking(value) if callable(value) else value

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*values: Any, **named: Any) -> Any:
            made = method(*values, **named)
            if isinstance(made, AsyncIterator):
                return self._items(made)
            result = self._wait(made)
            return Crossed(result, self._loop) if isinstance(result, View) else result

        return call

    def _items(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        with contextlib.suppress(StopAsyncIteration):
            first = [self._wait(anext(items))]  # as here: a refusal is raised by the call itself
            return self._rest(first, items)
        return iter(())

    def _rest(self, first: list[Any], items: AsyncIterator[Any]) -> Iterator[Any]:
        yield from first
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield self._wait(anext(items))

    def _wait(self, made: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(made, self._loop).result()


@contextlib.contextmanager
def crossed(kms: Qpher) -> Iterator[Crossed]:
    """Run an event loop on a thread, and cross to it for every call."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Crossed(kms.aio, loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
