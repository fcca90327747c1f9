# SPDX-License-Identifier: Apache-2.0
"""What callers hold for one tenant. Every public method is one call of the pipeline."""

import uuid
from collections.abc import Callable, Iterator
from typing import Protocol

from attrs import frozen

from qpher_core.audit.proof import LogProof
from qpher_core.audit.selection import EntryFilter, EntryPage, check_limit, make_page
from qpher_core.calls import Call, Effect, Runner
from qpher_core.models import AuditEntry, AuditReport, Receipt, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import AuditLog, KeyStore
from qpher_core.session_batches import BatchKem, BatchSignatures
from qpher_core.session_keys import Keys
from qpher_core.session_usage import SessionUsage, UsageReport

__all__ = ["Session", "SessionAudit"]


class Prover(Protocol):
    """Proves that an anchor covers an entry."""

    def proof(self, entry: AuditEntry, /) -> LogProof:
        """Return the proof; see :meth:`SessionAudit.proof`."""


@frozen
class SessionAudit:
    """The tenant's own audit log."""

    _pipeline: Runner
    _audit: AuditLog
    _anchorer: Prover
    _context: RequestContext

    def entries(
        self,
        *,
        start: int = 0,
        limit: int | None = None,
        where: EntryFilter | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield the tenant's entries in order, in constant memory.

        Args:
            start: place of the first entry to look at.
            limit: number of entries to yield at most.
            where: which entries to yield; all where none is given.
        """
        call = Call(
            operation=OPERATIONS["audit.read"],
            execute=lambda: Effect(self._entries(start, limit, where)),
        )
        return self._pipeline.read(self._context, call)

    def page(
        self, *, cursor: int = 0, limit: int = 100, where: EntryFilter | None = None
    ) -> EntryPage:
        """Return a page of entries and where to go on; pages never overlap or leave gaps.

        Args:
            cursor: 0, or the cursor of the page before.
            limit: entries on a page, from 1 to 1,000.
            where: which entries to return; the same for every page.
        """
        check_limit(limit)
        call = Call(
            operation=OPERATIONS["audit.read"],
            execute=lambda: Effect(make_page(self._entries(cursor, limit + 1, where), limit)),
        )
        return self._pipeline.read(self._context, call)

    def _entries(
        self, start: int, limit: int | None, where: EntryFilter | None
    ) -> Iterator[AuditEntry]:
        tenant_id = self._context.tenant_id
        return self._audit.entries(tenant_id, start=start, limit=limit, where=where)

    def entry(self, receipt: Receipt) -> AuditEntry:
        """Return the entry that a receipt names.

        Raises:
            IntegrityError: the log holds another entry, or none, at that place.
        """
        call = Call(
            operation=OPERATIONS["audit.read"], execute=lambda: Effect(self._entry(receipt))
        )
        return self._pipeline.read(self._context, call)

    def proof(self, receipt: Receipt) -> str:
        """Return the ``.tlog-proof`` of the entry that a receipt names.

        An anchor that covers it is used if there is one, and made if there is none. With the
        entry and the service's anchor keys, ``qpher_core.verify_proof`` checks it anywhere.

        Raises:
            IntegrityError: the log holds another entry, or none, at that place, or does not
                continue what was anchored before.
        """
        call = Call(
            operation=OPERATIONS["audit.proof"],
            execute=lambda: Effect(str(self._anchorer.proof(self._entry(receipt)))),
        )
        return self._pipeline.read(self._context, call)

    def verify(self) -> AuditReport:
        """Check the whole chain and name the first bad entry."""
        call = Call(
            operation=OPERATIONS["audit.verify"],
            execute=lambda: Effect(self._audit.verify(self._context.tenant_id)),
        )
        return self._pipeline.read(self._context, call)

    def _entry(self, receipt: Receipt) -> AuditEntry:
        return self._audit.entry(Receipt(self._context.tenant_id, receipt.seq, receipt.hash))


class Session:
    """A view of one tenant, for one actor, and of nothing else. Thread-safe.

    Attributes:
        keys: key versions and their life.
        kem: encryption, encapsulation, key wrap.
        signatures: signing and verifying.
        audit: the tenant's audit log.
        usage: what the tenant uses of what it may.
    """

    def __init__(
        self,
        pipeline: Runner,
        keystore: KeyStore,
        audit: AuditLog,
        anchorer: Prover,
        usage: Callable[[uuid.UUID], UsageReport],
        context: RequestContext,
    ) -> None:
        self._context = context
        self.keys = Keys(pipeline, keystore, context)
        self.kem = BatchKem(pipeline, keystore, context)
        self.signatures = BatchSignatures(pipeline, keystore, context)
        self.audit = SessionAudit(pipeline, audit, anchorer, context)
        self.usage = SessionUsage(pipeline, lambda: usage(context.tenant_id), context)

    def __repr__(self) -> str:
        return f"<Session of tenant {self._context.tenant_id} for {self._context.actor!r}>"
