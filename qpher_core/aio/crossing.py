# SPDX-License-Identifier: Apache-2.0
"""How a call crosses from a task to a thread and back.

A view names the methods of what it stands for, one in a line: ``sign = crossed(Signatures.sign)``.
The types of parameters and result are those of the method named, so checkers know them, and a
test holds the views against the classes, so none is forgotten.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial, wraps
from itertools import islice
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from qpher_core._threads import Threads

__all__ = ["Threads", "View", "crossed", "streamed", "viewed"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_BATCH: Final = 256  # items of an iterator that are fetched with one crossing


class View:
    """Stands for an object whose methods block."""

    def __init__(self, target: object, threads: Threads) -> None:
        self._target = target
        self._threads = threads

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> str:
        raise TypeError(f"{type(self).__name__} cannot be pickled")


class _Crossed(Generic[P, R]):
    """A method as a coroutine function; what :func:`crossed` and :func:`viewed` return."""

    def __init__(
        self,
        method: Callable[Concatenate[Any, P], Any],
        result: Callable[[Any, Threads], R],
    ) -> None:
        self._method = method
        self._result = result

    def __get__(
        self, view: View, _kind: type[View] | None = None
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        bound = _bound(self._method, view)

        @wraps(bound)
        async def call(*values: P.args, **named: P.kwargs) -> R:
            found = await view._threads.run(partial(bound, *values, **named))  # noqa: SLF001
            return self._result(found, view._threads)  # noqa: SLF001

        return call


class _Streamed(Generic[P, R]):
    """A method that gives an iterator, as one that gives an asynchronous iterator."""

    def __init__(self, method: Callable[Concatenate[Any, P], Iterator[R]]) -> None:
        self._method = method

    def __get__(self, view: View, _kind: type[View] | None = None) -> Callable[P, AsyncIterator[R]]:
        bound, run = _bound(self._method, view), view._threads.run  # noqa: SLF001

        @wraps(bound)
        async def call(*values: P.args, **named: P.kwargs) -> AsyncIterator[R]:
            items: Iterator[R] = await run(partial(bound, *values, **named))
            while batch := await run(lambda: list(islice(items, _BATCH))):
                for item in batch:
                    yield item

        return call


def _bound(method: Callable[..., Any], view: View) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(view._target, method.__name__)  # noqa: SLF001
    return found


def _same(found: R, _threads: Threads) -> R:
    return found


def crossed(method: Callable[Concatenate[Any, P], R]) -> _Crossed[P, R]:
    """Name a method."""
    return _Crossed(method, _same)


def viewed(
    method: Callable[Concatenate[Any, P], R], view: Callable[[R, Threads], S]
) -> _Crossed[P, S]:
    """Name a method whose result has methods that block, and the view of such a result."""
    return _Crossed(method, view)


def streamed(method: Callable[Concatenate[Any, P], Iterator[R]]) -> _Streamed[P, R]:
    """Name a method that gives an iterator."""
    return _Streamed(method)
