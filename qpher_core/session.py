# SPDX-License-Identifier: Apache-2.0
"""What callers hold for one tenant. Every public method is one call of the pipeline."""

from collections.abc import Iterator

from attrs import frozen

from qpher_core.audit.anchors import Anchorer
from qpher_core.calls import Call, Effect
from qpher_core.models import AuditEntry, AuditReport, Receipt, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.pipeline import Pipeline
from qpher_core.protocols import AuditLog, KeyStore
from qpher_core.session_batches import BatchKem, BatchSignatures
from qpher_core.session_keys import Keys

__all__ = ["Session", "SessionAudit"]


@frozen
class SessionAudit:
    """The tenant's own audit log."""

    _pipeline: Pipeline
    _audit: AuditLog
    _anchorer: Anchorer
    _context: RequestContext

    def entries(self, *, start: int = 0, limit: int | None = None) -> Iterator[AuditEntry]:
        """Yield the tenant's entries in order, from place ``start``."""
        call = Call(
            operation=OPERATIONS["audit.read"],
            execute=lambda: Effect(
                self._audit.entries(self._context.tenant_id, start=start, limit=limit)
            ),
        )
        return self._pipeline.read(self._context, call)

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
    """

    def __init__(
        self,
        pipeline: Pipeline,
        keystore: KeyStore,
        audit: AuditLog,
        anchorer: Anchorer,
        context: RequestContext,
    ) -> None:
        self._context = context
        self.keys = Keys(pipeline, keystore, context)
        self.kem = BatchKem(pipeline, keystore, context)
        self.signatures = BatchSignatures(pipeline, keystore, context)
        self.audit = SessionAudit(pipeline, audit, anchorer, context)

    def __repr__(self) -> str:
        return f"<Session of tenant {self._context.tenant_id} for {self._context.actor!r}>"
