# SPDX-License-Identifier: Apache-2.0
"""Audit logs as segments of 10,000 entries.

    audit/<tenant>/head            number of entries and hash of the last, in one line
    audit/<tenant>/base.json       where the log begins, if its first entries were moved out
    audit/<tenant>/<first>.jsonl   the entries, one in a line
    audit/<tenant>/<first>.index   for each the end of its line in the segment, and its hash
    audit/<tenant>/<first>.tree    the hashes of the subtrees that each entry completes

Lines of index and tree have one length, so any of them is found without a search. Leaf ``i``
of the tree is preceded by ``2 i - popcount(i)`` hashes: that many subtrees are complete by then.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import define, frozen

from qpher_backends.filesystem.anchors import AnchorTable
from qpher_backends.filesystem.heads import (
    LINE_BYTES,
    head_path,
    number_line,
    parse_line,
    recorded_head,
)
from qpher_backends.filesystem.journal import Add
from qpher_backends.filesystem.view import Look, Transaction, View
from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.audit.records import EMPTY_LOG, LogBase, LogState
from qpher_core.audit.tree import HASH_BYTES, Subtree, grow, last_leaf, leaf_hash, subtrees
from qpher_core.errors import IntegrityError, StateConflict, StoreUnavailable
from qpher_core.models import AuditEntry

__all__ = ["AuditTable", "AuditWriter"]

_SEGMENT: Final = 10_000  # entries
_PAGE: Final = 1000  # entries that are read at once
_TREE_LINE: Final = 65


@frozen
class _Files:
    """The files of the segment that holds a place of a log."""

    log: str
    first: int

    @classmethod
    def holding(cls, tenant_id: uuid.UUID, seq: int) -> "_Files":
        return cls(f"audit/{tenant_id}", seq - seq % _SEGMENT)

    @property
    def entries(self) -> str:
        return f"{self.log}/{self.first:012d}.jsonl"

    @property
    def index(self) -> str:
        return f"{self.log}/{self.first:012d}.index"

    @property
    def tree(self) -> str:
        return f"{self.log}/{self.first:012d}.tree"


def _nodes_before(leaf: int) -> int:
    return 2 * leaf - leaf.bit_count()


class AuditTable:
    """Implements ``AuditRecords``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last)."""
        return self._look(lambda view: recorded_head(view, tenant_id))

    def state(self, tenant_id: uuid.UUID) -> LogState:
        """Return size, head and peaks."""
        return self._look(lambda view: _state(view, tenant_id))

    def read(
        self, tenant_id: uuid.UUID, *, start: int = 0, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        """Yield entries, a page at a time."""
        left, start = limit, max(start, self._look(lambda view: _base(view, tenant_id)).size)
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
        found = self._look(lambda view: _base(view, tenant_id))
        return found if found.size else None

    def subtrees(self, tenant_id: uuid.UUID, wanted: Sequence[Subtree]) -> list[bytes]:
        """Return stored hashes of complete subtrees."""
        return self._look(lambda view: _subtrees(view, tenant_id, wanted))


def _base_path(tenant_id: uuid.UUID) -> str:
    return f"audit/{tenant_id}/base.json"


def _base(view: View, tenant_id: uuid.UUID) -> LogBase:
    return view.read(_base_path(tenant_id), _parse_base) or EMPTY_LOG


def _parse_base(document: Mapping[str, Any]) -> LogBase:
    head, peaks, segment = (bytes.fromhex(document[name]) for name in ("head", "peaks", "segment"))
    if (size := int(document["size"])) < 1:
        raise ValueError("a log begins at its first entry, or behind what was moved out")
    return LogBase(size, head, peaks, str(document["uses"]).encode(), segment)


def _state(view: View, tenant_id: uuid.UUID) -> LogState:
    size, head = recorded_head(view, tenant_id)
    hashes = _subtrees(view, tenant_id, list(subtrees(0, size)), missing=b"")
    return LogState(size, head, b"".join(hashes))


def _subtrees(
    view: View, tenant_id: uuid.UUID, wanted: Sequence[Subtree], *, missing: bytes | None = None
) -> list[bytes]:
    found = []
    base = _base(view, tenant_id)
    kept = base.kept
    for subtree in wanted:
        if subtree in kept:
            found.append(kept[subtree])
            continue
        leaf = last_leaf(subtree)
        files = _Files.holding(tenant_id, leaf)
        place = _nodes_before(leaf) - _nodes_before(files.first) + subtree[0]
        line = view.part(files.tree, place * _TREE_LINE, _TREE_LINE) or b""
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
    files = _Files.holding(tenant_id, start)
    first = start - files.first
    before = 1 if first else 0  # an entry begins where the line of the one before it ends
    offset, length = (first - before) * LINE_BYTES, (count + before) * LINE_BYTES
    lines = view.part(files.index, offset, length) or b""
    ends = [_end(lines[at : at + LINE_BYTES]) for at in range(0, len(lines), LINE_BYTES)]
    if len(ends) <= before:
        return [], _next_segment(view, files, start)  # what is missing is a gap, if there is one
    begin = ends[0][0] if before else 0
    last = max(end for end, _ in ends)
    data = view.part(files.entries, begin, max(last - begin, 0)) or b""
    entries, at = [], begin
    for seq, (end, digest) in enumerate(ends[before:], start):
        body = data[max(at - begin, 0) : max(end - 1 - begin, 0)]
        entries.append(AuditEntry(tenant_id, seq, body, digest))
        at = end
    return entries, start + count


def _next_segment(view: View, files: _Files, start: int) -> int | None:
    """Return the first place of the next segment that is there."""
    names = [name for name in view.names(files.log) if name.endswith(".index")]
    firsts = [int(name[:12]) for name in names if name[:12].isdecimal()]
    return min((first for first in firsts if first > start), default=None)


def _end(line: bytes) -> tuple[int, bytes]:
    try:
        return parse_line(line)
    except ValueError:
        return 0, b""


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
        tip.end = (tip.end if tip.size % _SEGMENT else 0) + len(entry.body) + 1
        tip.size, tip.head = tip.size + 1, entry.hash
        self._rows.append(_Row(entry, nodes, tip.peaks, tip.end))

    def move_out(self, base: LogBase, tenant_id: uuid.UUID, *, after: int) -> None:
        """Let the log begin at ``base``; :attr:`moved` says which files go once that is durable."""
        anchors = AnchorTable(lambda function: function(self._view))
        anchor = anchors.covering(tenant_id, base.size)
        begins = _base(self._view, tenant_id).size
        if begins != after or anchor is None or anchor.size != base.size:
            raise StateConflict("the log begins elsewhere by now, or there is no such anchor")
        document = {
            "head": base.head.hex(),
            "peaks": base.peaks.hex(),
            "segment": base.segment.hex(),
            "size": base.size,
            "uses": base.uses.decode(),
        }
        self._view.write(_base_path(tenant_id), document)
        self._moved[tenant_id] = base.size

    def moved(self) -> list[str]:
        """Return the files of which all entries were moved out, by this transaction or before."""
        return [
            f"audit/{tenant_id}/{name}"
            for tenant_id, size in self._moved.items()
            for name in self._view.names(f"audit/{tenant_id}")
            if name[:12].isdigit() and int(name[:12]) + _SEGMENT <= size
        ]

    def changes(self) -> list[Add]:
        """Return what was gathered, as few pieces as possible."""
        segments: dict[_Files, list[_Row]] = {}
        for row in self._rows:
            files = _Files.holding(row.entry.tenant_id, row.entry.seq)
            segments.setdefault(files, []).append(row)
        changes = [change for files, rows in segments.items() for change in _adds(files, rows)]
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
            files = _Files.holding(entry.tenant_id, entry.seq)
            if files.entries in checked:
                continue
            checked.add(files.entries)
            inside = entry.seq - files.first
            nodes = _nodes_before(entry.seq) - _nodes_before(files.first)
            expected = {
                files.entries: row.end - len(entry.body) - 1,
                files.index: inside * LINE_BYTES,
                files.tree: nodes * _TREE_LINE,
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
                state = _state(self._view, tenant_id)
                end = _last_end(self._view, tenant_id, state.size)
            if not state.whole:
                raise StoreUnavailable(f"the recorded head of log {tenant_id} was altered")
            tip = self._tips[tenant_id] = _Tip(state.size, state.head, state.peaks, end)
        return tip


def _last_end(view: View, tenant_id: uuid.UUID, size: int) -> int:
    if size == 0:
        return 0
    files = _Files.holding(tenant_id, size - 1)
    line = view.part(files.index, (size - 1 - files.first) * LINE_BYTES, LINE_BYTES) or b""
    return _end(line)[0]


def _adds(files: _Files, rows: Sequence[_Row]) -> list[Add]:
    first = rows[0].entry
    inside = first.seq - files.first
    nodes = _nodes_before(first.seq) - _nodes_before(files.first)
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
        Add(files.entries, rows[0].end - len(first.body) - 1, bodies),
        Add(files.index, inside * LINE_BYTES, index),
        Add(files.tree, nodes * _TREE_LINE, tree),
    ]
