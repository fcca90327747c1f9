# SPDX-License-Identifier: Apache-2.0
"""The audit log of a store: appending to a tenant's chain, reading it, verifying it."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final

from attrs import evolve

from qpher_core.audit.entry import FORMAT, EntryDraft, EntryForm, Result
from qpher_core.audit.grammar import is_link
from qpher_core.audit.moving import unbroken
from qpher_core.audit.records import EMPTY_LOG, LogBase
from qpher_core.audit.selection import EntryFilter
from qpher_core.audit.tree import HASH_BYTES, Subtree, grow, last_leaf, leaf_hash, stored_hash
from qpher_core.errors import IntegrityError, NotFound
from qpher_core.models import AuditEntry, AuditReport, Receipt, canonical_json, rfc3339
from qpher_core.protocols import AuditRecords, AuditRecordsWriter
from qpher_core.validation import check_count

__all__ = ["StoredAuditLog", "moved_document", "verify_chain"]

_MOVED: Final = b'{"action":"audit.move_out",'

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
        (entry,) = self.append_many(writer, tenant_id, draft, (draft.result,))
        return entry

    def append_many(
        self,
        writer: AuditRecordsWriter,
        tenant_id: uuid.UUID,
        draft: EntryDraft,
        results: Iterable[Result],
    ) -> list[AuditEntry]:
        """Append an entry for each result of one call; ``draft`` has what they share."""
        form, time = EntryForm(draft, tenant_id), rfc3339(self._clock())
        seq, prev_hash = writer.head(tenant_id)
        entries = []
        for place, result in enumerate(results, seq):
            entry = form.fill(result, seq=place, prev_hash=prev_hash, time=time)
            writer.append(entry)
            self.appended(tenant_id, place)
            prev_hash = entry.hash
            entries.append(entry)
        return entries

    def entries(
        self,
        tenant_id: uuid.UUID,
        *,
        start: int = 0,
        limit: int | None = None,
        where: EntryFilter | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield entries in order.

        Raises:
            StateConflict: while it yields, the entries that were to follow were moved out.
        """
        check_count(start, "start")
        if limit is not None:
            check_count(limit, "limit")
        some = limit if where is None else None
        read = self._records.read(tenant_id, start=start, limit=some)
        entries = unbroken(self._records, tenant_id, read)
        return entries if where is None else islice(filter(where.matches, entries), limit)

    def entry(self, receipt: Receipt) -> AuditEntry:
        """Return the entry that a receipt names.

        Raises:
            NotFound: the entry was moved out of the store.
            IntegrityError: the log holds another entry, or none, at that place.
        """
        for entry in self.entries(receipt.tenant_id, start=receipt.seq, limit=1):
            if entry.seq == receipt.seq and entry.hash == receipt.hash == _hash(entry):
                return entry
        base = self._records.base(receipt.tenant_id)
        if base is not None and receipt.seq < base.size:
            raise NotFound(
                f"audit entry {receipt.seq} was moved out: it is in a segment that ends at or "
                f"before entry {base.size}",
                parameter="receipt",
            )
        raise IntegrityError(f"audit entry {receipt.seq} is not the one of the receipt")

    def verify(self, tenant_id: uuid.UUID) -> AuditReport:
        """Check the chain of a tenant, as far as it is in the store.

        Entries appended meanwhile are left out. Where the log goes on from a base, an entry must
        say that what came before was moved out.
        """
        base = self._records.base(tenant_id)
        report = self._verify(tenant_id, base or EMPTY_LOG)
        now = self._records.base(tenant_id)
        return report if now == base else self.verify(tenant_id)

    def _verify(self, tenant_id: uuid.UUID, base: LogBase) -> AuditReport:
        state = self._records.state(tenant_id)
        if not base.whole or base.size > state.size:
            problem = "what says where the log begins, or its head, was altered"
            return AuditReport(tenant_id, base.size, base.size, problem, base.head)
        tree, record = _TreeCheck(self._records, tenant_id, base), _RecordCheck(base)
        entries = self._records.read(tenant_id, start=base.size, limit=state.size - base.size)
        watched = record.watch(tree.watch(entries))
        report = verify_chain(tenant_id, watched, size=state.size, head=state.head, base=base)
        if not report.ok:
            return report
        if not record.found:
            problem = "no entry tells that what came before was moved out"
            return evolve(report, bad_seq=base.size, problem=problem)
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

    def __init__(self, records: AuditRecords, tenant_id: uuid.UUID, base: LogBase) -> None:
        self._records = records
        self._tenant_id = tenant_id
        self._start = base.size
        self._peaks = base.peaks
        self._bad: int | None = None
        self._expected: dict[Subtree, bytes] = {}

    def watch(self, entries: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
        """Pass entries on, growing the tree."""
        for size, entry in enumerate(entries, self._start):
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
            return self._start
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


class _RecordCheck:
    """Looks for the entry that tells that what came before the base was moved out."""

    def __init__(self, base: LogBase) -> None:
        self._document = moved_document(base)
        self.found = base.size == 0

    def watch(self, entries: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
        """Pass entries on."""
        wanted = hashlib.sha256(self._document).hexdigest()
        for entry in entries:
            yield entry
            if not self.found and entry.body.startswith(_MOVED):
                self.found = (fields := entry.fields).get("content") == wanted and (
                    fields.get("outcome") == "success"
                )


def moved_document(base: LogBase) -> bytes:
    """Return what the entry of ``audit.move_out`` is about (docs/formats.md, Segment)."""
    return canonical_json(
        {
            "head": base.head.hex(),
            "peaks": base.peaks.hex(),
            "segment": base.segment.hex(),
            "size": base.size,
            "uses": hashlib.sha256(base.uses).hexdigest(),
        }
    )


def verify_chain(
    tenant_id: uuid.UUID,
    entries: Iterable[AuditEntry],
    *,
    size: int,
    head: bytes,
    base: LogBase = EMPTY_LOG,
) -> AuditReport:
    """Check entries from ``base`` on against each other and the recorded size and head.

    A chain alone shows alterations by someone who does not recompute all that follows and the
    head with it; against that, keep a head (``report.head``) where they cannot reach it.
    """
    tenant, expected, prev_hash = str(tenant_id), base.size, base.head
    for entry in entries:
        problem = _problem(entry, tenant, expected, prev_hash)
        if problem:
            return AuditReport(tenant_id, expected, expected, problem, prev_hash)
        expected, prev_hash = expected + 1, entry.hash
    if expected != size:
        return AuditReport(tenant_id, expected, expected, "the entry is missing", prev_hash)
    if prev_hash != head:
        last = max(expected - 1, 0)
        return AuditReport(tenant_id, last, last, "the recorded head differs", prev_hash)
    return AuditReport(tenant_id, expected, None, "", prev_hash)


def _problem(entry: AuditEntry, tenant: str, seq: int, prev_hash: bytes) -> str:
    """Return what is wrong with an entry that must have this place in the chain, or ''."""
    if entry.seq != seq:
        return "the entry is missing"
    if _hash(entry) != entry.hash:
        return "the entry was altered"
    if is_link(entry.body, prev_hash, seq, tenant):
        return ""  # as nearly every entry, in a fraction of the time of what follows
    fields = _canonical_fields(entry)
    if fields is None:
        return "the entry is not canonical JSON"
    found = (fields.get("format"), fields.get("seq"), fields.get("tenant"))
    if found != (FORMAT, seq, tenant):
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
