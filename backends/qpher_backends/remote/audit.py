# SPDX-License-Identifier: Apache-2.0
"""The audit log of one tenant of a service elsewhere, for reading.

Entries are appended by the operations that they tell of, at that service.

What is verified here: that each entry has the hash that the service states, and a proof the entry
that it was asked for. Whether the log as a whole is sound is the service's word, until an export or
a proof is verified with anchor keys that come from elsewhere.
"""

import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any, Final

from qpher_backends.remote.answers import audit_entry, hash_of
from qpher_backends.remote.link import BadAnswer, Link, expect
from qpher_core.audit.entry import EntryDraft, Result
from qpher_core.audit.problems import AuditIntegrityError
from qpher_core.audit.proof import LogProof
from qpher_core.audit.selection import EntryFilter
from qpher_core.errors import AuditUnavailable, IntegrityError, NotFound
from qpher_core.models import AuditEntry, AuditReport, Receipt, rfc3339
from qpher_core.protocols import AuditRecordsWriter
from qpher_core.validation import check_count

__all__ = ["RemoteAuditLog", "filter_values"]

_PAGE: Final = 1000  # entries in one answer

_Page = tuple[list[AuditEntry], int | None]


class RemoteAuditLog:
    """Implements ``AuditLog`` for the API key's tenant, but for appending. Thread-safe."""

    def __init__(self, link: Link, tenant_id: uuid.UUID) -> None:
        self._link = link
        self._tenant_id = tenant_id

    def __repr__(self) -> str:
        return f"<RemoteAuditLog over {self._link!r}>"

    def append(
        self, writer: AuditRecordsWriter, tenant_id: uuid.UUID, draft: EntryDraft
    ) -> AuditEntry:
        """Refuse: see the module."""
        raise AuditUnavailable("entries of a service elsewhere are appended by its operations")

    def append_many(
        self,
        writer: AuditRecordsWriter,
        tenant_id: uuid.UUID,
        draft: EntryDraft,
        results: Iterable[Result],
    ) -> list[AuditEntry]:
        """Refuse: see the module."""
        raise AuditUnavailable("entries of a service elsewhere are appended by its operations")

    def entries(
        self,
        tenant_id: uuid.UUID,
        *,
        start: int = 0,
        limit: int | None = None,
        where: EntryFilter | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield the entries from ``start`` that match, in order, a page at a time."""
        check_count(start, "start")
        if limit is not None:
            check_count(limit, "limit")
        if limit == 0 or tenant_id != self._tenant_id:
            return iter(())
        # The first page is read at once, so that a refusal is raised where it is caused.
        return self._from(self._page(start, limit, where), limit, where)

    def entry(self, receipt: Receipt) -> AuditEntry:
        """Return the entry that a receipt names.

        Raises:
            NotFound: the entry was moved out of the store.
            IntegrityError: the log holds another entry, or none, at that place.
        """
        entry = self._find(receipt) if receipt.tenant_id == self._tenant_id else None
        if entry is None and receipt.seq < self._first():
            raise NotFound(f"audit entry {receipt.seq} was moved out", parameter="receipt")
        if entry is None or entry.hash != receipt.hash:
            raise IntegrityError(f"audit entry {receipt.seq} is not the one of the receipt")
        return entry

    def proof(self, entry: AuditEntry) -> LogProof:
        """Return the proof that an anchor covers an entry."""

        def read(answer: Any, _: uuid.UUID) -> LogProof:
            found = audit_entry(answer.entry, self._tenant_id)
            expect(found == entry, "the proof is about another entry")
            try:
                proof = LogProof.parse(answer.proof)
            except AuditIntegrityError as error:
                raise BadAnswer(str(error)) from None
            expect(proof.index == entry.seq, "the proof is about another entry")
            return proof

        return self._link.call("GET", "/audit/entries/{seq}/proof", read, values={"seq": entry.seq})

    def verify(self, tenant_id: uuid.UUID) -> AuditReport:
        """Let the service check the whole chain."""

        def read(answer: Any, _: uuid.UUID) -> AuditReport:
            expect(answer.ok == (answer.bad_seq is None), "a report contradicts itself")
            return AuditReport(
                tenant_id, answer.entries, answer.bad_seq, answer.problem, hash_of(answer.head)
            )

        return self._link.call("GET", "/audit/verify", read)

    def _find(self, receipt: Receipt) -> AuditEntry | None:
        def read(answer: Any, _: uuid.UUID) -> AuditEntry:
            expect(answer.seq == receipt.seq, "it is another entry")
            return audit_entry(answer, self._tenant_id)

        try:
            return self._link.call("GET", "/audit/entries/{seq}", read, values={"seq": receipt.seq})
        except NotFound:
            return None

    def _first(self) -> int:
        """Return the place of the first entry that the service still has."""
        entries, _ = self._page(0, 1, None)
        return entries[0].seq if entries else 0

    def _from(
        self, page: _Page, limit: int | None, where: EntryFilter | None
    ) -> Iterator[AuditEntry]:
        while True:
            entries, cursor = page
            yield from entries
            left = None if limit is None else limit - len(entries)
            if cursor is None or left == 0:
                return
            page, limit = self._page(cursor, left, where), left

    def _page(self, cursor: int, limit: int | None, where: EntryFilter | None) -> _Page:
        size = _PAGE if limit is None else min(limit, _PAGE)

        def read(answer: Any, _: uuid.UUID) -> _Page:
            found = [audit_entry(entry, self._tenant_id) for entry in answer.entries]
            places = [cursor - 1, *(entry.seq for entry in found)]
            expect(places == sorted(set(places)), "entries are out of order")
            expect(len(found) <= size, "there are more entries than were asked for")
            expect(answer.cursor is None or answer.cursor > places[-1], "the cursor goes back")
            expect(answer.cursor is None or found, "a page is empty and not the last one")
            return found, answer.cursor

        values = {"cursor": cursor, "limit": size, **filter_values(where)}
        try:
            return self._link.call("GET", "/audit/entries", read, values=values)
        except NotFound:
            if cursor == 0 or (first := self._first()) <= cursor:
                raise
            return self._page(first, limit, where)  # a page begins where it says, entries() later


def filter_values(where: EntryFilter | None) -> dict[str, object]:
    """Return the query parameters of a filter."""
    if where is None:
        return {}
    moments = {
        name: None if moment is None else rfc3339(moment.astimezone(UTC))
        for name, moment in (("since", where.since), ("until", where.until))
    }
    others = ("actor", "action", "outcome", "name", "algorithm", "version")
    return {**moments, **{name: getattr(where, name) for name in others}}
