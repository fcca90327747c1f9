# SPDX-License-Identifier: Apache-2.0
"""Anchors of the audit logs.

    anchors/<tenant>.jsonl         the anchors, one in a line
    anchors/<tenant>.index         for each its size and the end of its line
    anchors/statements.json        the rotation statements

Lines of the index have one length, so any of them is found without a search.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from qpher_backends.filesystem.heads import recorded_head
from qpher_backends.filesystem.journal import Add
from qpher_backends.filesystem.view import Look, Transaction, View
from qpher_core.audit.records import StoredAnchor
from qpher_core.errors import IntegrityError, StoreUnavailable
from qpher_core.models import rfc3339

__all__ = ["AnchorTable", "AnchorWriter"]

_ANCHOR_LINE: Final = 42  # two numbers of 20 digits
_STATEMENTS: Final = "anchors/statements.json"


class AnchorTable:
    """Implements ``AnchorRecords``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def latest(self, tenant_id: uuid.UUID) -> StoredAnchor | None:
        """Return the anchor that covers most entries."""

        def look(view: View) -> StoredAnchor | None:
            count = _anchor_count(view, tenant_id)
            return _anchor(view, tenant_id, count - 1) if count else None

        return self._look(look)

    def covering(self, tenant_id: uuid.UUID, size: int) -> StoredAnchor | None:
        """Return the smallest anchor of at least ``size`` entries."""

        def look(view: View) -> StoredAnchor | None:
            count = _anchor_count(view, tenant_id)
            place = _first_covering(view, tenant_id, size, count)
            return _anchor(view, tenant_id, place) if place < count else None

        return self._look(look)

    def read(self, tenant_id: uuid.UUID, *, start: int = 0) -> Iterator[StoredAnchor]:
        """Yield anchors by size."""
        found = self.covering(tenant_id, start)
        while found is not None:
            yield found
            found = self.covering(tenant_id, found.size + 1)

    def logs(self) -> Sequence[uuid.UUID]:
        """Return the tenants whose log has an entry beyond its last anchor."""

        def grown(tenant_id: uuid.UUID) -> bool:
            latest = self.latest(tenant_id)
            size, _ = self._look(lambda view: recorded_head(view, tenant_id))
            return size > (0 if latest is None else latest.size)

        return [found for found in self._look(_logs) if grown(found)]

    def statements(self) -> Sequence[str]:
        """Return the rotation statements, oldest first."""
        return self._look(lambda view: view.read(_STATEMENTS, _statements)) or []


def _logs(view: View) -> list[uuid.UUID]:
    return view.listing("audit", lambda names: [uuid.UUID(name) for name in names])


def _statements(document: Mapping[str, Any]) -> list[str]:
    return [str(note) for note in document["statements"]]


def _anchors(tenant_id: uuid.UUID, kind: str) -> str:
    return f"anchors/{tenant_id}.{kind}"


def _anchor_count(view: View, tenant_id: uuid.UUID) -> int:
    return (view.size(_anchors(tenant_id, "index")) or 0) // _ANCHOR_LINE


def _anchor_line(view: View, tenant_id: uuid.UUID, place: int) -> tuple[int, int]:
    """Return size and end of line of one anchor."""
    path = _anchors(tenant_id, "index")
    line = view.part(path, place * _ANCHOR_LINE, _ANCHOR_LINE) or b""
    try:
        size, end = line.split()
        return int(size), int(end)
    except ValueError:
        raise IntegrityError(f"{path} is malformed: it was altered") from None


def _first_covering(view: View, tenant_id: uuid.UUID, size: int, count: int) -> int:
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if _anchor_line(view, tenant_id, middle)[0] < size:
            low = middle + 1
        else:
            high = middle
    return low


def _anchor(view: View, tenant_id: uuid.UUID, place: int) -> StoredAnchor:
    begin = _anchor_line(view, tenant_id, place - 1)[1] if place else 0
    size, end = _anchor_line(view, tenant_id, place)
    path = _anchors(tenant_id, "jsonl")
    try:
        document = json.loads(view.part(path, begin, max(end - begin, 0)) or b"")
        if document["size"] != size:
            raise ValueError("the index describes another anchor")
        time = datetime.fromisoformat(document["time"])
        return StoredAnchor(tenant_id, size, time, str(document["note"]))
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(f"{path} is malformed: it was altered") from None


class AnchorWriter:
    """Implements ``AnchorRecordsWriter``: gathers the anchors of a transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._stored = AnchorTable(lambda function: function(transaction))
        self._gathered: list[StoredAnchor] = []

    def mark(self) -> Callable[[], None]:
        """Return a function that undoes what is inserted from here on."""
        length = len(self._gathered)
        return lambda: self._gathered.__delitem__(slice(length, None))

    def latest(self, tenant_id: uuid.UUID) -> StoredAnchor | None:
        """Return the anchor that covers most entries."""
        for anchor in reversed(self._gathered):
            if anchor.tenant_id == tenant_id:
                return anchor
        return self._stored.latest(tenant_id)

    def insert(self, anchor: StoredAnchor) -> None:
        """Add an anchor."""
        latest = self.latest(anchor.tenant_id)
        if latest is not None and latest.size >= anchor.size:
            raise StoreUnavailable("an anchor covers more entries than the one before it")
        self._gathered.append(anchor)

    def add_statement(self, note: str) -> None:
        """Add a rotation statement."""
        notes = [*self._stored.statements(), note]
        self._transaction.write(_STATEMENTS, {"statements": notes})

    def changes(self) -> list[Add]:
        """Return what was gathered."""
        ends: dict[uuid.UUID, tuple[int, int]] = {}  # number of anchors, end of the last line
        changes = []
        for anchor in self._gathered:
            tenant_id = anchor.tenant_id
            count, begin = ends.get(tenant_id) or self._end(tenant_id)
            document = {"size": anchor.size, "time": rfc3339(anchor.time), "note": anchor.note}
            line = json.dumps(document, ensure_ascii=False).encode() + b"\n"
            end = begin + len(line)
            index = b"%020d %020d\n" % (anchor.size, end)
            changes.append(Add(_anchors(tenant_id, "jsonl"), begin, line))
            changes.append(Add(_anchors(tenant_id, "index"), count * _ANCHOR_LINE, index))
            ends[tenant_id] = count + 1, end
        return changes

    def _end(self, tenant_id: uuid.UUID) -> tuple[int, int]:
        count = _anchor_count(self._transaction, tenant_id)
        return count, _anchor_line(self._transaction, tenant_id, count - 1)[1] if count else 0
