# SPDX-License-Identifier: Apache-2.0
"""Calls on many items, in parts that a service takes: so many items, and bytes, in one request."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from attrs import evolve

from qpher_core.asgi.models_batch import MOST_ITEMS
from qpher_core.calls import KeyCall

__all__ = ["batch_parts", "portions"]

T = TypeVar("T")

#: Of all items of a part: in base64 they fit into a batch's body as the service has it by default.
_MOST_BYTES: Final = 16 << 20


def batch_parts(call: KeyCall[T]) -> Iterator[KeyCall[T]]:
    """Yield the call itself, or calls on some of its items each, in order."""
    count = call.inputs.get("count")
    if count is not None:
        for start in range(0, count, MOST_ITEMS):
            yield _with(call, "count", min(MOST_ITEMS, count - start))
        return
    (name,) = (name for name, items in call.inputs.items() if isinstance(items, list))
    for portion in portions(call.inputs[name]):
        yield _with(call, name, portion)


def _with(call: KeyCall[T], name: str, value: object) -> KeyCall[T]:
    return evolve(call, inputs={**call.inputs, name: value})


def portions(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the items in order, as many at once as a request may have."""
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
