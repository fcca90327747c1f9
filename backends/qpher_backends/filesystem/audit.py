# SPDX-License-Identifier: Apache-2.0
"""Audit logs as segments of 10,000 entries, and anchors.

    audit/<tenant>/head            number of entries and hash of the last, in one line
    audit/<tenant>/base.json       where the log begins, if its first entries were moved out
    audit/<tenant>/<first>.jsonl   the entries, one in a line
    audit/<tenant>/<first>.index   for each the end of its line in the segment, and its hash
    audit/<tenant>/<first>.tree    the hashes of the subtrees that each entry completes
    anchors/<tenant>.jsonl         the anchors, one in a line
    anchors/<tenant>.index         for each its size and the end of its line
    anchors/statements.json        the rotation statements

Lines of the three indexes have one length, so any of them is found without a search. Leaf ``i``
of the tree is preceded by ``2 i - popcount(i)`` hashes: that many subtrees are complete by then.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import define, frozen

from qpher_backends.filesystem.journal import Add
from qpher_backends.filesystem.tables import tenant_path
from qpher_backends.filesystem.view import Look, Transaction, View
from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.audit.records import EMPTY_LOG, LogBase, LogState, StoredAnchor
from qpher_core.audit.tree import HASH_BYTES, Subtree, grow, last_leaf, leaf_hash, subtrees
from qpher_core.errors import IntegrityError, StateConflict, StoreUnavailable
from qpher_core.models import AuditEntry, rfc3339

__all__ = ["AnchorTable", "AnchorWriter", "AuditTable", "AuditWriter"]

_SEGMENT: Final = 10_000  # entries
_PAGE: Final = 1000  # entries that are read at once
_HEAD_LINE: Final = 86  # 20 digits, a space, 64 hexadecimal digits, a newline
_INDEX_LINE: Final = 86
_TREE_LINE: Final = 65
_ANCHOR_LINE: Final = 42  # two numbers of 20 digits
_STATEMENTS: Final = "anchors/statements.json"


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


def _head_line(size: int, head: bytes) -> bytes:
    return b"%020d %s\n" % (size, head.hex().encode())


def _head_path(tenant_id: uuid.UUID) -> str:
    return f"audit/{tenant_id}/head"


def _numbers(line: bytes) -> tuple[int, bytes]:
    """Return number and hash of a line of a head or index. Raises ``ValueError``."""
    digits = line[:20].isdigit()
    if len(line) != _INDEX_LINE or not digits or line[20:21] != b" " or line[-1:] != b"\n":
        raise ValueError("a line has another form")
    return int(line[:20]), bytes.fromhex(line[21:-1].decode("ascii"))


class AuditTable:
    """Implements ``AuditRecords``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last)."""
        return self._look(lambda view: _recorded_head(view, tenant_id))

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


def _recorded_head(view: View, tenant_id: uuid.UUID) -> tuple[int, bytes]:
    content = view.content(_head_path(tenant_id))
    if content is None:
        if view.exists(tenant_path(tenant_id)):
            raise StoreUnavailable(f"the audit log of tenant {tenant_id} is gone")
        return 0, EMPTY_HEAD
    try:
        return _numbers(content)
    except ValueError:
        raise IntegrityError(f"the recorded head of log {tenant_id} was altered") from None


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
    size, head = _recorded_head(view, tenant_id)
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
    offset, length = (first - before) * _INDEX_LINE, (count + before) * _INDEX_LINE
    lines = view.part(files.index, offset, length) or b""
    ends = [_end(lines[at : at + _INDEX_LINE]) for at in range(0, len(lines), _INDEX_LINE)]
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
        return _numbers(line)
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
        if self._view.content(_head_path(tenant_id)) is None:
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
        heads = {tenant: _head_line(0, EMPTY_HEAD) for tenant in self._begun}
        heads |= {tenant: _head_line(e.seq + 1, e.hash) for tenant, e in last.items()}
        return changes + [Add(_head_path(tenant), 0, line) for tenant, line in heads.items()]

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
                files.index: inside * _INDEX_LINE,
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
    line = view.part(files.index, (size - 1 - files.first) * _INDEX_LINE, _INDEX_LINE) or b""
    return _end(line)[0]


def _adds(files: _Files, rows: Sequence[_Row]) -> list[Add]:
    first = rows[0].entry
    inside = first.seq - files.first
    nodes = _nodes_before(first.seq) - _nodes_before(files.first)
    bodies = b"".join([row.entry.body + b"\n" for row in rows])
    index = b"".join([_head_line(row.end, row.entry.hash) for row in rows])
    tree = b"".join(
        [
            row.nodes[at : at + HASH_BYTES].hex().encode() + b"\n"
            for row in rows
            for at in range(0, len(row.nodes), HASH_BYTES)
        ]
    )
    return [
        Add(files.entries, rows[0].end - len(first.body) - 1, bodies),
        Add(files.index, inside * _INDEX_LINE, index),
        Add(files.tree, nodes * _TREE_LINE, tree),
    ]


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
            size, _ = self._look(lambda view: _recorded_head(view, tenant_id))
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
