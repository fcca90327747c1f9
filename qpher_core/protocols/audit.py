# SPDX-License-Identifier: Apache-2.0
"""The audit log as the pipeline uses it."""

import uuid
from collections.abc import Iterable, Iterator
from typing import Protocol

from qpher_core.audit.entry import EntryDraft, Result
from qpher_core.audit.selection import EntryFilter
from qpher_core.models import AuditEntry, AuditReport, Receipt
from qpher_core.protocols.records import AuditRecordsWriter

__all__ = ["AuditLog"]


class AuditLog(Protocol):
    """One append-only hash chain for each tenant."""

    def append(
        self, writer: AuditRecordsWriter, tenant_id: uuid.UUID, draft: EntryDraft
    ) -> AuditEntry:
        """Append one entry inside a transaction; it is recorded once that commits."""

    def append_many(
        self,
        writer: AuditRecordsWriter,
        tenant_id: uuid.UUID,
        draft: EntryDraft,
        results: Iterable[Result],
    ) -> list[AuditEntry]:
        """Append an entry for each result of one call; ``draft`` has what they share."""

    def entries(
        self,
        tenant_id: uuid.UUID,
        *,
        start: int = 0,
        limit: int | None = None,
        where: EntryFilter | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield the entries from ``start`` that match, in order, at most ``limit``.

        Raises:
            StateConflict: while it yields, the entries that were to follow were moved out.
        """

    def entry(self, receipt: Receipt) -> AuditEntry:
        """Return the entry that a receipt names, or raise ``IntegrityError``."""

    def verify(self, tenant_id: uuid.UUID) -> AuditReport:
        """Check the whole chain of a tenant and name the first bad entry."""
