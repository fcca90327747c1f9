# SPDX-License-Identifier: Apache-2.0
"""The tables of the audit log: entries with their Merkle tree, and anchors.

Each entry's row holds the hashes of the subtrees that it completes, so the tree costs no write
of its own. A transaction gathers the entries of all its callers and writes them, and each head
once, when it commits.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Final

from attrs import define

from qpher_backends.sql.run import Row, Run, RunMany
from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.audit.records import LogBase, LogState, StoredAnchor
from qpher_core.audit.tree import HASH_BYTES, Subtree, grow, last_leaf, leaf_hash, stored_hash
from qpher_core.errors import IntegrityError, StateConflict, StoreUnavailable
from qpher_core.models import AuditEntry, rfc3339

__all__ = ["AnchorTable", "AuditTable", "AuditWriter"]

_PAGE: Final = 1000  # audit entries that are read at once
_ANCHOR_PAGE: Final = 100
_MOST_VARIABLES: Final = 500  # in one statement; SQLite's own limit is higher

_SELECT_STATE: Final = "SELECT size, hash, peaks FROM audit_heads WHERE tenant_id = ?"
_INSERT_ENTRIES: Final = "INSERT INTO audit_entries (tenant_id, seq, body, hash, nodes) VALUES "

#: Entries that one statement inserts: each statement lets other threads run, and waits for them.
_AT_ONCE: Final = 64

#: The statements, by how many entries they insert; a connection prepares each once.
_INSERTS: Final = [
    _INSERT_ENTRIES + ", ".join(["(?, ?, ?, ?, ?)"] * n) for n in range(_AT_ONCE + 1)
]
_SELECT_BASE: Final = "SELECT size, hash, peaks, uses, segment FROM audit_bases WHERE tenant_id = ?"
_UPSERT_BASE: Final = (
    "INSERT INTO audit_bases (tenant_id, size, hash, peaks, uses, segment)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id) DO UPDATE SET size = excluded.size,"
    " hash = excluded.hash, peaks = excluded.peaks, uses = excluded.uses,"
    " segment = excluded.segment"
)
_HAS_ANCHOR: Final = "SELECT 1 FROM audit_anchors WHERE tenant_id = ? AND size = ?"
_REMOVE: Final = "DELETE FROM audit_entries WHERE tenant_id = ? AND seq < ?"
_UPSERT_HEAD: Final = (
    "INSERT INTO audit_heads (tenant_id, size, hash, peaks) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (tenant_id) DO UPDATE SET size = excluded.size, hash = excluded.hash,"
    " peaks = excluded.peaks"
)


class AuditTable:
    """Implements ``AuditRecords``."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last)."""
        state = self.state(tenant_id)
        return state.size, state.head

    def state(self, tenant_id: uuid.UUID) -> LogState:
        """Return size, head and peaks."""
        rows = self._run(tenant_id, _SELECT_STATE, (str(tenant_id),))
        return LogState(*rows[0]) if rows else LogState(0, EMPTY_HEAD, b"")

    def read(
        self, tenant_id: uuid.UUID, *, start: int = 0, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        """Yield entries, a page at a time."""
        left = limit
        while left is None or left > 0:
            page = _PAGE if left is None else min(left, _PAGE)
            rows = self._run(
                tenant_id,
                "SELECT seq, body, hash FROM audit_entries"
                " WHERE tenant_id = ? AND seq >= ? ORDER BY seq LIMIT ?",
                (str(tenant_id), start, page),
            )
            for seq, body, digest in rows:
                yield AuditEntry(tenant_id, seq, body, digest)
            if len(rows) < page:
                return
            start = rows[-1][0] + 1
            left = None if left is None else left - page

    def base(self, tenant_id: uuid.UUID) -> LogBase | None:
        """Return where the log begins."""
        rows = self._run(tenant_id, _SELECT_BASE, (str(tenant_id),))
        return LogBase(*rows[0]) if rows else None

    def subtrees(self, tenant_id: uuid.UUID, wanted: Sequence[Subtree]) -> list[bytes]:
        """Return stored hashes of complete subtrees."""
        leaves = sorted({last_leaf(subtree) for subtree in wanted})
        nodes: dict[int, bytes] = {}
        for first in range(0, len(leaves), _MOST_VARIABLES):
            some = leaves[first : first + _MOST_VARIABLES]
            places = ", ".join("?" * len(some))
            rows = self._run(
                tenant_id,
                f"SELECT seq, nodes FROM audit_entries WHERE tenant_id = ? AND seq IN ({places})",
                (str(tenant_id), *some),
            )
            nodes.update(rows)
        if len(nodes) < len(leaves) and (base := self.base(tenant_id)) is not None:
            kept = base.kept
        else:
            kept = {}
        hashes = [
            kept.get(subtree) or stored_hash(nodes.get(last_leaf(subtree), b""), subtree)
            for subtree in wanted
        ]
        if any(len(found) != HASH_BYTES for found in hashes):
            raise IntegrityError("the Merkle tree of the log lacks a subtree: it was altered")
        return hashes


@define
class _Tip:
    """The end of one log inside a transaction; ``owner`` is its tenant as the rows name it."""

    owner: str
    size: int
    head: bytes
    peaks: bytes


class AuditWriter:
    """Implements ``AuditRecordsWriter``: gathers the entries of a transaction."""

    def __init__(self, run: Run, run_many: RunMany) -> None:
        self._run = run
        self._run_many = run_many
        self._rows: list[tuple[uuid.UUID, Row, bytes]] = []  # tenant, row, peaks after it
        self._tips: dict[uuid.UUID, _Tip] = {}
        self._last: tuple[uuid.UUID | None, _Tip | None] = (None, None)

    def begin(self) -> None:
        """Forget what another transaction gathered or read."""
        self._rows.clear()
        self._forget_tips()

    def _forget_tips(self) -> None:
        self._tips.clear()
        self._last = (None, None)

    def mark(self) -> Callable[[], None]:
        """Return a function that undoes what is appended from here on."""
        length, rows = len(self._rows), self._rows

        def undo() -> None:
            del rows[length:]
            self._forget_tips()
            for tenant_id, (owner, seq, _, digest, _), peaks in rows:
                self._tips[tenant_id] = _Tip(owner, seq + 1, digest, peaks)

        return undo

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
        tip.size, tip.head = tip.size + 1, entry.hash
        row = (tip.owner, entry.seq, entry.body, entry.hash, nodes)
        self._rows.append((entry.tenant_id, row, tip.peaks))

    def move_out(self, base: LogBase, tenant_id: uuid.UUID, *, after: int) -> None:
        """Let the log begin at ``base``, and remove the entries before it."""
        owner = str(tenant_id)
        rows = self._run(tenant_id, _SELECT_BASE, (owner,))
        begins = rows[0][0] if rows else 0
        if begins != after or not self._run(tenant_id, _HAS_ANCHOR, (owner, base.size)):
            raise StateConflict("the log begins elsewhere by now, or there is no such anchor")
        values = (owner, base.size, base.head, base.peaks, base.uses, base.segment)
        self._run(tenant_id, _UPSERT_BASE, values)
        self._run(tenant_id, _REMOVE, (owner, base.size))

    def flush(self) -> None:
        """Write what was gathered; part of committing."""
        gathered: dict[uuid.UUID, list[Row]] = {}
        for tenant_id, row, _ in self._rows:
            gathered.setdefault(tenant_id, []).append(row)
        for tenant_id, rows in gathered.items():
            tip = self._tips[tenant_id]
            self._insert(tenant_id, rows)
            head = (tip.owner, tip.size, tip.head, tip.peaks)
            self._run_many(tenant_id, _UPSERT_HEAD, (head,))
        self._rows.clear()

    def _insert(self, tenant_id: uuid.UUID, rows: Sequence[Row]) -> None:
        for first in range(0, len(rows), _AT_ONCE):
            some = rows[first : first + _AT_ONCE]
            values = tuple(chain.from_iterable(some))
            self._run_many(tenant_id, _INSERTS[len(some)], (values,))

    @property
    def last(self) -> tuple[uuid.UUID, int, bytes] | None:
        """Tenant, place and hash of the entry that was gathered last."""
        if not self._rows:
            return None
        tenant_id, (_, seq, _, digest, _), _ = self._rows[-1]
        return tenant_id, seq, digest

    def know(self, tenant_id: uuid.UUID, state: LogState) -> None:
        """Take the end of a log that the transaction has just read and locked."""
        if not state.whole:
            raise StoreUnavailable(f"the recorded head of log {tenant_id} was altered")
        self._tips[tenant_id] = _Tip(str(tenant_id), state.size, state.head, state.peaks)

    def _tip(self, tenant_id: uuid.UUID) -> _Tip:
        last_id, last = self._last
        if last_id is tenant_id and last is not None:
            return last  # hashing an UUID takes longer than all else here
        tip = self._tips.get(tenant_id)
        if tip is None:
            rows = self._run(tenant_id, _SELECT_STATE, (str(tenant_id),))
            self.know(tenant_id, LogState(*rows[0]) if rows else LogState(0, EMPTY_HEAD, b""))
            tip = self._tips[tenant_id]
        self._last = tenant_id, tip
        return tip


class AnchorTable:
    """Implements ``AnchorRecords`` and ``AnchorRecordsWriter``."""

    _SELECT = "SELECT size, time, note FROM audit_anchors WHERE tenant_id = ?"

    def __init__(self, run: Run) -> None:
        self._run = run

    def latest(self, tenant_id: uuid.UUID) -> StoredAnchor | None:
        """Return the anchor that covers most entries."""
        rows = self._run(tenant_id, self._SELECT + " ORDER BY size DESC LIMIT 1", (str(tenant_id),))
        return _anchor(tenant_id, rows[0]) if rows else None

    def covering(self, tenant_id: uuid.UUID, size: int) -> StoredAnchor | None:
        """Return the smallest anchor of at least ``size`` entries."""
        rows = self._run(
            tenant_id, self._SELECT + " AND size >= ? ORDER BY size LIMIT 1", (str(tenant_id), size)
        )
        return _anchor(tenant_id, rows[0]) if rows else None

    def read(self, tenant_id: uuid.UUID, *, start: int = 0) -> Iterator[StoredAnchor]:
        """Yield anchors by size, a page at a time."""
        while True:
            rows = self._run(
                tenant_id,
                self._SELECT + " AND size >= ? ORDER BY size LIMIT ?",
                (str(tenant_id), start, _ANCHOR_PAGE),
            )
            for row in rows:
                yield _anchor(tenant_id, row)
            if len(rows) < _ANCHOR_PAGE:
                return
            start = rows[-1][0] + 1

    def logs(self) -> Sequence[uuid.UUID]:
        """Return the tenants whose log has an entry beyond its last anchor."""
        rows = self._run(
            None,
            "SELECT tenant_id FROM audit_heads AS head WHERE size > coalesce("
            "(SELECT max(size) FROM audit_anchors AS a WHERE a.tenant_id = head.tenant_id), 0)",
            (),
        )
        return [uuid.UUID(tenant_id) for (tenant_id,) in rows]

    def statements(self) -> Sequence[str]:
        """Return the rotation statements, oldest first."""
        rows = self._run(None, "SELECT note FROM anchor_statements ORDER BY number", ())
        return [note for (note,) in rows]

    def insert(self, anchor: StoredAnchor) -> None:
        """Add an anchor."""
        latest = self.latest(anchor.tenant_id)
        if latest is not None and latest.size >= anchor.size:
            raise StoreUnavailable("an anchor covers more entries than the one before it")
        self._run(
            anchor.tenant_id,
            "INSERT INTO audit_anchors (tenant_id, size, time, note) VALUES (?, ?, ?, ?)",
            (str(anchor.tenant_id), anchor.size, rfc3339(anchor.time), anchor.note),
        )

    def add_statement(self, note: str) -> None:
        """Add a rotation statement."""
        self._run(None, "INSERT INTO anchor_statements (note) VALUES (?)", (note,))


def _anchor(tenant_id: uuid.UUID, row: Row) -> StoredAnchor:
    size, time, note = row
    return StoredAnchor(tenant_id, size, datetime.fromisoformat(time), note)
