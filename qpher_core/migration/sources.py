# SPDX-License-Identifier: Apache-2.0
"""Where the items of a migration are: what every source does, and iterables with a sink."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from attrs import frozen

from qpher_core.errors import ValidationError
from qpher_core.migration.report import ItemId

__all__ = ["Change", "Item", "IterableSource", "Sink", "Source"]


@frozen
class Item:
    """One item as it is.

    Attributes:
        id: names it in reports and for the caller's context.
        value: what it holds; of an encrypted file, its header alone. None for what holds nothing.
        position: where the source goes on after it.
        text: whether the source holds the value as text, in base64.
    """

    id: ItemId
    value: bytes | None
    position: ItemId
    text: bool = False


@frozen
class Change:
    """One item that is to be replaced."""

    item: Item
    value: bytes


class Source(Protocol):
    """Reads items in a fixed order and replaces them."""

    @property
    def name(self) -> str:
        """What it is, for the audit log."""

    @property
    def place(self) -> str:
        """Which one it is, for the journal: equal for the same source in another process."""

    @property
    def total(self) -> int | None:
        """How many items there are, or None if that is not known."""

    def batches(self, after: ItemId | None, size: int) -> Iterator[Sequence[Item]]:
        """Yield the items behind a position, in order, at most ``size`` at once."""

    def write(self, changes: Sequence[Change]) -> Sequence[ItemId]:
        """Replace items; the new values are durable when this returns.

        Returns the ids of those that are no longer as they were read; they stay as they are.
        An item has its old value or its new one at every moment, whole.
        """


#: Makes (id, new value) pairs durable.
Sink = Callable[[Sequence[tuple[ItemId, bytes]]], object]


class IterableSource:
    """Pairs of an id and a value, and a function that stores new values."""

    def __init__(self, pairs: Iterable[tuple[ItemId, bytes | None]], sink: Sink, name: str) -> None:
        self._pairs = pairs
        self._sink = sink
        self.name = self.place = name
        self.total = len(pairs) if isinstance(pairs, Sequence) else None

    def batches(self, after: ItemId | None, size: int) -> Iterator[Sequence[Item]]:
        """Yield the items behind a position, which is a number of pairs.

        Raises:
            ValidationError: it gives something else; what came before stays moved.
        """
        start = after if isinstance(after, int) else 0
        numbered = islice(enumerate(self._pairs, 1), start, None)
        items = (Item(*_checked(pair), number) for number, pair in numbered)
        while batch := list(islice(items, size)):
            yield batch

    def write(self, changes: Sequence[Change]) -> Sequence[ItemId]:
        """Hand new values to the sink."""
        self._sink([(change.item.id, change.value) for change in changes])
        return ()


def _checked(pair: Iterable[object]) -> tuple[ItemId, bytes | None]:
    """Return an id and a value as they must be."""
    try:
        item_id, value = pair
    except (TypeError, ValueError):
        raise ValidationError("source must give pairs", parameter="source") from None
    if isinstance(item_id, bool) or not isinstance(item_id, int | str):
        raise ValidationError("source must give integers or text as ids", parameter="source")
    if value is None:
        return item_id, None
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ValidationError("source must give values that are bytes or None", parameter="source")
    return item_id, bytes(value)
