# SPDX-License-Identifier: Apache-2.0
"""Writing audit logs: entries are gathered, and go to their files as few pieces as possible."""

import uuid
from collections.abc import Callable, Sequence

from attrs import define, frozen

from qpher_backends.filesystem.anchors import AnchorTable
from qpher_backends.filesystem.audit import state_of
from qpher_backends.filesystem.bases import recorded_base, write_base
from qpher_backends.filesystem.heads import LINE_BYTES, head_path, number_line
from qpher_backends.filesystem.journal import Add
from qpher_backends.filesystem.segments import Segment, entry_end, in_segment, moved_out
from qpher_backends.filesystem.view import Transaction, View
from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.audit.records import LogBase, LogState
from qpher_core.audit.tree import HASH_BYTES, grow, leaf_hash
from qpher_core.errors import StateConflict, StoreUnavailable
from qpher_core.models import AuditEntry

__all__ = ["AuditWriter"]


@define
class _Tip:
    """The end of one log inside a transaction; ``end`` is that of its last line's file."""

    size: int
    head: bytes
    peaks: bytes
    end: int


@frozen
class _Row:
    """One gathered entry, and the log after it."""

    entry: AuditEntry
    nodes: bytes
    peaks: bytes
    end: int


class AuditWriter:
    """Implements ``AuditRecordsWriter``: gathers the entries of a transaction."""

    def __init__(self, view: Transaction) -> None:
        self._view = view
        self._rows: list[_Row] = []
        self._tips: dict[uuid.UUID, _Tip] = {}
        self._begun: dict[uuid.UUID, None] = {}
        self._moved: dict[uuid.UUID, int] = {}

    def begin(self, view: Transaction, *, keep_tips: bool) -> None:
        """Forget what another transaction gathered, and what it read if others wrote since."""
        self._view = view
        self._rows.clear()
        self._moved.clear()
        self._begun.clear()
        if not keep_tips:
            self._tips.clear()

    def mark(self) -> Callable[[], None]:
        """Return a function that undoes what is appended from here on."""
        length, begun, rows = len(self._rows), len(self._begun), self._rows
        moved = dict(self._moved)

        def undo() -> None:
            self._moved = moved
            if len(rows) == length and len(self._begun) == begun:
                return
            del rows[length:]
            self._begun = dict.fromkeys(list(self._begun)[:begun])
            self._tips.clear()
            for row in rows:
                entry = row.entry
                self._tips[entry.tenant_id] = _Tip(entry.seq + 1, entry.hash, row.peaks, row.end)

        return undo

    def begin_log(self, tenant_id: uuid.UUID) -> None:
        """Make the empty log of a new tenant."""
        if self._view.content(head_path(tenant_id)) is None:
            self._begun[tenant_id] = None

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last)."""
        tip = self._tip(tenant_id)
        return tip.size, tip.head

    def append(self, entry: AuditEntry) -> None:
        """Gather the entry; grow the tree."""
        tip = self._tip(entry.tenant_id)
        if entry.seq != tip.size:
            raise StoreUnavailable("an audit entry takes the next place")
        tip.peaks, nodes = grow(tip.size, tip.peaks, leaf_hash(entry.body))
        tip.end = (tip.end if in_segment(tip.size) else 0) + len(entry.body) + 1
        tip.size, tip.head = tip.size + 1, entry.hash
        self._rows.append(_Row(entry, nodes, tip.peaks, tip.end))

    def move_out(self, base: LogBase, tenant_id: uuid.UUID, *, after: int) -> None:
        """Let the log begin at ``base``; :meth:`moved` says which files go once that is durable."""
        anchors = AnchorTable(lambda function: function(self._view))
        anchor = anchors.covering(tenant_id, base.size)
        begins = recorded_base(self._view, tenant_id).size
        if begins != after or anchor is None or anchor.size != base.size:
            raise StateConflict("the log begins elsewhere by now, or there is no such anchor")
        write_base(self._view, tenant_id, base)
        self._moved[tenant_id] = base.size

    def moved(self) -> list[str]:
        """Return the files of which all entries were moved out, by this transaction or before."""
        return [
            f"audit/{tenant_id}/{name}"
            for tenant_id, size in self._moved.items()
            for name in self._view.names(f"audit/{tenant_id}")
            if moved_out(name, size)
        ]

    def changes(self) -> list[Add]:
        """Return what was gathered, as few pieces as possible."""
        segments: dict[Segment, list[_Row]] = {}
        for row in self._rows:
            segment = Segment.holding(row.entry.tenant_id, row.entry.seq)
            segments.setdefault(segment, []).append(row)
        changes = [change for segment, rows in segments.items() for change in _adds(segment, rows)]
        last = {row.entry.tenant_id: row.entry for row in self._rows}
        heads = {tenant: number_line(0, EMPTY_HEAD) for tenant in self._begun}
        heads |= {tenant: number_line(e.seq + 1, e.hash) for tenant, e in last.items()}
        return changes + [Add(head_path(tenant), 0, line) for tenant, line in heads.items()]

    def check_places(self, status: Callable[[str], int | None]) -> None:
        """Refuse if a segment that grows is not as this store left it.

        Args:
            status: gives a file's size, or None if there is no file.
        """
        checked: set[str] = set()
        for row in self._rows:
            entry = row.entry
            segment = Segment.holding(entry.tenant_id, entry.seq)
            if segment.entries in checked:
                continue
            checked.add(segment.entries)
            expected = {
                segment.entries: row.end - len(entry.body) - 1,
                segment.index: segment.index_offset(entry.seq),
                segment.tree: segment.tree_offset(entry.seq),
            }
            for path, size in expected.items():
                if (status(path) or 0) != size:
                    raise StoreUnavailable(f"{path} is gone, or not as it was left")

    def _tip(self, tenant_id: uuid.UUID) -> _Tip:
        tip = self._tips.get(tenant_id)
        if tip is None:
            if tenant_id in self._begun:
                state, end = LogState(0, EMPTY_HEAD, b""), 0
            else:
                state = state_of(self._view, tenant_id)
                end = _last_end(self._view, tenant_id, state.size)
            if not state.whole:
                raise StoreUnavailable(f"the recorded head of log {tenant_id} was altered")
            tip = self._tips[tenant_id] = _Tip(state.size, state.head, state.peaks, end)
        return tip


def _last_end(view: View, tenant_id: uuid.UUID, size: int) -> int:
    if size == 0:
        return 0
    segment = Segment.holding(tenant_id, size - 1)
    line = view.part(segment.index, segment.index_offset(size - 1), LINE_BYTES) or b""
    return entry_end(line)[0]


def _adds(segment: Segment, rows: Sequence[_Row]) -> list[Add]:
    first = rows[0].entry
    bodies = b"".join([row.entry.body + b"\n" for row in rows])
    index = b"".join([number_line(row.end, row.entry.hash) for row in rows])
    tree = b"".join(
        [
            row.nodes[at : at + HASH_BYTES].hex().encode() + b"\n"
            for row in rows
            for at in range(0, len(row.nodes), HASH_BYTES)
        ]
    )
    return [
        Add(segment.entries, rows[0].end - len(first.body) - 1, bodies),
        Add(segment.index, segment.index_offset(first.seq), index),
        Add(segment.tree, segment.tree_offset(first.seq), tree),
    ]
