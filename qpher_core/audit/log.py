# SPDX-License-Identifier: Apache-2.0
"""The audit log of a store: appending to a tenant's chain, reading it, verifying it."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final

from attrs import evolve

from qpher_core.audit.entry import EMPTY_HEAD, FORMAT, EntryDraft, build_entry
from qpher_core.audit.selection import EntryFilter
from qpher_core.audit.tree import HASH_BYTES, Subtree, grow, last_leaf, leaf_hash, stored_hash
from qpher_core.errors import IntegrityError
from qpher_core.models import AuditEntry, AuditReport, Receipt, canonical_json
from qpher_core.protocols import AuditRecords, AuditRecordsWriter
from qpher_core.validation import check_count

__all__ = ["StoredAuditLog", "verify_chain"]

_COMPARED_AT_ONCE: Final = 500  # stored subtrees, in one read


class StoredAuditLog:
    """Implements ``AuditLog`` over the records of a store."""

    def __init__(self, records: AuditRecords, clock: Callable[[], datetime]) -> None:
        self._records = records
        self._clock = clock
        #: Called with tenant and place of every entry, inside its transaction; must be quick.
        self.appended: Callable[[uuid.UUID, int], None] = lambda _tenant_id, _seq: None

    def append(
        self, writer: AuditRecordsWriter, tenant_id: uuid.UUID, draft: EntryDraft
    ) -> AuditEntry:
        """Append one entry inside a transaction and return it."""
        seq, prev_hash = writer.head(tenant_id)
        entry = build_entry(
            draft, tenant_id=tenant_id, seq=seq, prev_hash=prev_hash, time=self._clock()
        )
        writer.append(entry)
        self.appended(tenant_id, seq)
        return entry

    def entries(
        self,
        tenant_id: uuid.UUID,
        *,
        start: int = 0,
        limit: int | None = None,
        where: EntryFilter | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield entries in order."""
        check_count(start, "start")
        if limit is not None:
            check_count(limit, "limit")
        if where is None:
            return self._records.read(tenant_id, start=start, limit=limit)
        return islice(filter(where.matches, self._records.read(tenant_id, start=start)), limit)

    def entry(self, receipt: Receipt) -> AuditEntry:
        """Return the entry that a receipt names.

        Raises:
            IntegrityError: the log holds another entry, or none, at that place.
        """
        for entry in self.entries(receipt.tenant_id, start=receipt.seq, limit=1):
            if entry.seq == receipt.seq and entry.hash == receipt.hash == _hash(entry):
                return entry
        raise IntegrityError(f"audit entry {receipt.seq} is not the one of the receipt")

    def verify(self, tenant_id: uuid.UUID) -> AuditReport:
        """Check the whole chain of a tenant. Entries appended meanwhile are left out."""
        state = self._records.state(tenant_id)
        tree = _TreeCheck(self._records, tenant_id)
        entries = tree.watch(self.entries(tenant_id, limit=state.size))
        report = verify_chain(tenant_id, entries, size=state.size, head=state.head)
        if not report.ok:
            return report
        bad = self._beyond_head(tenant_id, state.size)
        problem = "the entry is beyond the recorded head"
        if bad is None:
            bad, problem = tree.first_bad(state.peaks), "the Merkle tree differs"
        return report if bad is None else evolve(report, bad_seq=bad, problem=problem)

    def _beyond_head(self, tenant_id: uuid.UUID, size: int) -> int | None:
        """Return the place of the first entry that the recorded head leaves out, or None.

        Entry and head are one commit: who sees an entry that came meanwhile sees its head too.
        """
        for entry in self._records.read(tenant_id, start=size, limit=1):
            return entry.seq if self._records.head(tenant_id)[0] <= entry.seq else None
        return None


class _TreeCheck:
    """Grows the Merkle tree anew from the entries and compares it with the stored one."""

    def __init__(self, records: AuditRecords, tenant_id: uuid.UUID) -> None:
        self._records = records
        self._tenant_id = tenant_id
        self._peaks = b""
        self._bad: int | None = None
        self._expected: dict[Subtree, bytes] = {}

    def watch(self, entries: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
        """Pass entries on, growing the tree."""
        for size, entry in enumerate(entries):
            yield entry
            self._peaks, nodes = grow(size, self._peaks, leaf_hash(entry.body))
            for level in range(len(nodes) // HASH_BYTES):
                self._expected[level, size >> level] = stored_hash(nodes, (level, 0))
            if len(self._expected) >= _COMPARED_AT_ONCE:
                self._compare()

    def first_bad(self, peaks: bytes) -> int | None:
        """Return the first entry whose stored subtrees are not those of the entries, or None."""
        self._compare()
        if self._bad is None and peaks != self._peaks:
            return 0
        return self._bad

    def _compare(self) -> None:
        wanted, self._expected = self._expected, {}
        if self._bad is not None or not wanted:
            return
        try:
            stored = self._records.subtrees(self._tenant_id, list(wanted))
        except IntegrityError:
            self._bad = min(last_leaf(subtree) for subtree in wanted)
            return
        wrong = [s for s, found in zip(wanted, stored, strict=True) if found != wanted[s]]
        self._bad = min(map(last_leaf, wrong), default=None)


def verify_chain(
    tenant_id: uuid.UUID, entries: Iterable[AuditEntry], *, size: int, head: bytes
) -> AuditReport:
    """Check entries against each other and against the recorded size and head.

    A chain alone shows alterations by someone who does not recompute all that follows and the
    head with it; against that, keep a head (``report.head``) where they cannot reach it.
    """
    expected, prev_hash = 0, EMPTY_HEAD
    for entry in entries:
        problem = _problem(entry, tenant_id, expected, prev_hash)
        if problem:
            return AuditReport(tenant_id, expected, expected, problem, prev_hash)
        expected, prev_hash = expected + 1, entry.hash
    if expected != size:
        return AuditReport(tenant_id, expected, expected, "the entry is missing", prev_hash)
    if prev_hash != head:
        last = max(expected - 1, 0)
        return AuditReport(tenant_id, last, last, "the recorded head differs", prev_hash)
    return AuditReport(tenant_id, expected, None, "", prev_hash)


def _problem(entry: AuditEntry, tenant_id: uuid.UUID, seq: int, prev_hash: bytes) -> str:
    """Return what is wrong with an entry that must have this place in the chain, or ''."""
    if entry.seq != seq:
        return "the entry is missing"
    if _hash(entry) != entry.hash:
        return "the entry was altered"
    fields = _canonical_fields(entry)
    if fields is None:
        return "the entry is not canonical JSON"
    found = (fields.get("format"), fields.get("seq"), fields.get("tenant"))
    if found != (FORMAT, seq, str(tenant_id)):
        return "the entry belongs elsewhere"
    if fields.get("prev_hash") != prev_hash.hex():
        return "the entry does not follow the one before it"
    return ""


def _canonical_fields(entry: AuditEntry) -> dict[str, Any] | None:
    """Return the fields if the body is the canonical form of an object."""
    try:
        fields = entry.fields
        canonical = isinstance(fields, dict) and canonical_json(fields) == entry.body
    except (ValueError, TypeError, RecursionError):
        return None
    return fields if canonical else None


def _hash(entry: AuditEntry) -> bytes:
    return hashlib.sha256(entry.body).digest()
