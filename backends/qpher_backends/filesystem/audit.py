# SPDX-License-Identifier: Apache-2.0
"""Reading audit logs."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Final

from qpher_backends.filesystem.bases import recorded_base
from qpher_backends.filesystem.heads import LINE_BYTES, recorded_head
from qpher_backends.filesystem.segments import TREE_LINE, Segment, entry_end
from qpher_backends.filesystem.view import Look, View
from qpher_core.audit.records import LogBase, LogState
from qpher_core.audit.tree import HASH_BYTES, Subtree, last_leaf, subtrees
from qpher_core.errors import IntegrityError
from qpher_core.models import AuditEntry

__all__ = ["AuditTable", "state_of"]

_PAGE: Final = 1000  # entries that are read at once


class AuditTable:
    """Implements ``AuditRecords``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last)."""
        return self._look(lambda view: recorded_head(view, tenant_id))

    def state(self, tenant_id: uuid.UUID) -> LogState:
        """Return size, head and peaks."""
        return self._look(lambda view: state_of(view, tenant_id))

    def read(
        self, tenant_id: uuid.UUID, *, start: int = 0, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        """Yield entries, a page at a time."""
        base = self._look(lambda view: recorded_base(view, tenant_id))
        left, start = limit, max(start, base.size)
        while left is None or left > 0:
            count = _PAGE - start % _PAGE  # a page never reaches into another segment
            count = count if left is None else min(left, count)
            page, after = self._look(lambda view, s=start, n=count: _page(view, tenant_id, s, n))  # type: ignore[misc]
            yield from page
            if after is None:
                return
            left = None if left is None else left - (after - start)
            start = after

    def base(self, tenant_id: uuid.UUID) -> LogBase | None:
        """Return where the log begins."""
        found = self._look(lambda view: recorded_base(view, tenant_id))
        return found if found.size else None

    def subtrees(self, tenant_id: uuid.UUID, wanted: Sequence[Subtree]) -> list[bytes]:
        """Return stored hashes of complete subtrees."""
        return self._look(lambda view: _subtrees(view, tenant_id, wanted))


def state_of(view: View, tenant_id: uuid.UUID) -> LogState:
    """Return size, head and peaks of a log."""
    size, head = recorded_head(view, tenant_id)
    hashes = _subtrees(view, tenant_id, list(subtrees(0, size)), missing=b"")
    return LogState(size, head, b"".join(hashes))


def _subtrees(
    view: View, tenant_id: uuid.UUID, wanted: Sequence[Subtree], *, missing: bytes | None = None
) -> list[bytes]:
    found = []
    base = recorded_base(view, tenant_id)
    kept = base.kept
    for subtree in wanted:
        if subtree in kept:
            found.append(kept[subtree])
            continue
        leaf = last_leaf(subtree)
        segment = Segment.holding(tenant_id, leaf)
        offset = segment.tree_offset(leaf) + subtree[0] * TREE_LINE
        line = view.part(segment.tree, offset, TREE_LINE) or b""
        line = line if leaf >= base.size else b""  # of a file that holds later entries, too
        try:
            digest = bytes.fromhex(line.decode("ascii"))
        except ValueError:
            digest = b""
        if len(digest) != HASH_BYTES:
            if missing is None:
                raise IntegrityError("the Merkle tree of the log lacks a subtree: it was altered")
            digest = missing
        found.append(digest)
    return found


def _page(
    view: View, tenant_id: uuid.UUID, start: int, count: int
) -> tuple[list[AuditEntry], int | None]:
    """Return the entries of a page as they are stored, and where to go on, or None at the end.

    What the index does not describe comes back empty, so that verification names its place.
    """
    segment = Segment.holding(tenant_id, start)
    before = 0 if start == segment.first else 1  # an entry begins where the one before it ends
    offset, length = segment.index_offset(start - before), (count + before) * LINE_BYTES
    lines = view.part(segment.index, offset, length) or b""
    ends = [entry_end(lines[at : at + LINE_BYTES]) for at in range(0, len(lines), LINE_BYTES)]
    if len(ends) <= before:
        return [], _next_segment(view, segment, start)  # what is missing is a gap, if there is one
    begin = ends[0][0] if before else 0
    last = max(end for end, _ in ends)
    data = view.part(segment.entries, begin, max(last - begin, 0)) or b""
    entries, at = [], begin
    for seq, (end, digest) in enumerate(ends[before:], start):
        body = data[max(at - begin, 0) : max(end - 1 - begin, 0)]
        entries.append(AuditEntry(tenant_id, seq, body, digest))
        at = end
    return entries, start + count


def _next_segment(view: View, segment: Segment, start: int) -> int | None:
    """Return the first place of the next segment that is there."""
    names = [name for name in view.names(segment.log) if name.endswith(".index")]
    firsts = [int(name[:12]) for name in names if name[:12].isdecimal()]
    return min((first for first in firsts if first > start), default=None)
