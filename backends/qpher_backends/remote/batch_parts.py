# SPDX-License-Identifier: Apache-2.0
"""Calls on many items, in parts that a service takes: so many items, and bytes, in one request."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from attrs import evolve

from qpher_backends.remote.failures import TOO_LARGE
from qpher_core.asgi.models_batch import MOST_ITEMS
from qpher_core.calls import KeyCall
from qpher_core.errors import ValidationError

__all__ = ["run_in_parts", "send_in_parts"]

T = TypeVar("T")
R = TypeVar("R")

#: Of all items of a part: in base64 they fit into a batch's body as the service has it by default.
_MOST_BYTES: Final = 16 << 20


def run_in_parts(call: KeyCall[T], run: Callable[[KeyCall[T]], list[R]]) -> list[R]:
    """Run the call itself, or calls on some of its items each, in order."""
    count = call.inputs.get("count")
    if count is not None:
        return send_in_parts([b""] * count, lambda part: run(_with(call, "count", len(part))))
    (name,) = (name for name, items in call.inputs.items() if isinstance(items, list))
    return send_in_parts(call.inputs[name], lambda part: run(_with(call, name, part)))


def send_in_parts(items: Sequence[Any], send: Callable[[list[Any]], list[R]]) -> list[R]:
    """Send items in order, as many at once as a request may have, and return all results."""
    return [result for part in _portions(items) for result in _sent(part, send)]


def _sent(part: list[Any], send: Callable[[list[Any]], list[R]]) -> list[R]:
    """Send one part; in halves, if it is larger than this service or a proxy before it takes."""
    try:
        return send(part)
    except ValidationError as error:
        # One that names a parameter is about an item, which halving does not make smaller.
        if error.code != TOO_LARGE or error.parameter is not None or len(part) == 1:
            raise
    middle = len(part) // 2
    return [*_sent(part[:middle], send), *_sent(part[middle:], send)]


def _with(call: KeyCall[T], name: str, value: object) -> KeyCall[T]:
    return evolve(call, inputs={**call.inputs, name: value})


def _portions(items: Sequence[Any]) -> Iterator[list[Any]]:
    portion: list[Any] = []
    room = _MOST_BYTES
    for item in items:
        size = len(item) if isinstance(item, bytes) else sum(map(len, item.values()))
        if portion and (len(portion) == MOST_ITEMS or size > room):
            yield portion
            portion, room = [], _MOST_BYTES
        portion.append(item)
        room -= size
    if portion:
        yield portion
