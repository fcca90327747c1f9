# SPDX-License-Identifier: Apache-2.0
"""What callers hold for one tenant. Every public method is one call of the pipeline."""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Protocol

from attrs import frozen

from qpher_core.algorithms import DEFAULT_KEM
from qpher_core.audit.proof import LogProof
from qpher_core.audit.selection import EntryFilter, EntryPage, check_limit, make_page
from qpher_core.calls import Call, Effect, Runner
from qpher_core.errors import NotFound
from qpher_core.key_usage import LogUsage
from qpher_core.migration.parts import ContextOf
from qpher_core.migration.report import MigrationReport, Progress
from qpher_core.migration.sources import Sink
from qpher_core.models import AuditEntry, AuditReport, Receipt, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import AuditLog, KeyStore
from qpher_core.resigning import ResignResult, resign
from qpher_core.session_batches import BatchSignatures
from qpher_core.session_fields import FieldKem
from qpher_core.session_keys import Keys
from qpher_core.session_migration import MigrationSource, Migrator
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

        Entries that were moved out (``kms.audit.move_out``) are not among them.

        Args:
            start: place of the first entry to look at.
            limit: number of entries to yield at most.
            where: which entries to yield; all where none is given.

        Raises:
            StateConflict: while it yields, the entries that were to follow were moved out.
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

        Raises:
            NotFound: the entry at the cursor was moved out since the page before.
        """
        check_limit(limit)
        call = Call(
            operation=OPERATIONS["audit.read"],
            execute=lambda: Effect(self._page(cursor, limit, where)),
        )
        return self._pipeline.read(self._context, call)

    def _page(self, cursor: int, limit: int, where: EntryFilter | None) -> EntryPage:
        page = make_page(self._entries(cursor, limit + 1, where), limit)
        # Looked at afterwards: entries go from the beginning, so nothing behind it went before.
        first = next(self._entries(cursor, 1, None), None) if cursor else None
        if first is not None and first.seq != cursor:
            raise NotFound(
                f"entries from {cursor} to {first.seq - 1} were moved out: they are in segments",
                parameter="cursor",
            )
        return page

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
    """A view of one tenant, for one actor, and of nothing else. Thread-safe."""

    def __init__(
        self,
        pipeline: Runner,
        keystore: KeyStore,
        audit: AuditLog,
        anchorer: Prover,
        usage: Callable[[uuid.UUID], UsageReport],
        context: RequestContext,
        *,
        uses: LogUsage | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._keystore = keystore
        self._log = audit
        self._anchorer = anchorer
        self._usage = usage
        self._context = context
        self._uses = uses

    # Made when they are used: a request over HTTP has a session of its own, and uses one of them.

    @cached_property
    def keys(self) -> Keys:
        """Key versions and their life."""
        uses = self._uses or LogUsage(self._log.entries)
        return Keys(self._pipeline, self._keystore, self._context, uses)

    @cached_property
    def kem(self) -> FieldKem:
        """Encryption, encapsulation, key wrap."""
        return FieldKem(self._pipeline, self._keystore, self._context)

    @cached_property
    def signatures(self) -> BatchSignatures:
        """Signing and verifying."""
        return BatchSignatures(self._pipeline, self._keystore, self._context)

    @cached_property
    def audit(self) -> SessionAudit:
        """The tenant's audit log."""
        return SessionAudit(self._pipeline, self._log, self._anchorer, self._context)

    @cached_property
    def usage(self) -> SessionUsage:
        """What the tenant uses of what it may."""
        tenant_id = self._context.tenant_id
        return SessionUsage(self._pipeline, lambda: self._usage(tenant_id), self._context)

    @cached_property
    def _migrator(self) -> Migrator:
        return Migrator(self._pipeline, self._keystore, self._context, self.keys)

    def migrate(
        self,
        source: MigrationSource,
        *,
        to_algorithm: str = DEFAULT_KEM,
        to_version: int | None = None,
        name: str = "default",
        context: Mapping[str, str] | ContextOf | None = None,
        sink: Sink | None = None,
        journal: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        batch: int = 1000,
        threads: int = 1,
        rate: float | None = None,
        accept_compromised: bool = False,
        salt: bytes | None = None,
        progress: Progress = lambda _: None,
    ) -> MigrationReport:
        """Move what is encrypted to another key version or algorithm (docs/migration.md).

        Messages and wrapped keys are encrypted anew; of files the header, and of a field's values
        the wrapped key, is replaced.
        What is there already stays as it is, so a second run moves only what is left.

        Args:
            source: a column (:class:`SqlColumn`), a file or a directory, or pairs of an id (int
                or str) and a ciphertext (bytes-like, or None), in the same order each time.
            to_algorithm: a KEM.
            to_version: a key version; the active one, at each moment, where none is given.
            name: key name, before and after.
            context: what the values are bound to, before and after; or a function that gives it
                for an id (of a file, its path below the directory), called from any thread.
            sink: with pairs, makes a list of (id, new ciphertext) durable. Called in order.
            journal: a file that keeps how far the migration is; with it, a run that was cut short
                goes on where it was.
            dry_run: only say what would be done.
            batch: items that are moved, written and noted together, at most 10,000.
            threads: how many batches are moved at once, while one is written.
            rate: items in a second at most.
            accept_compromised: whether values of compromised keys are moved.
            salt: of values that were encrypted in a deterministic field; its secret.
            progress: called after each batch.

        Raises:
            ValidationError: a parameter is not what it must be; what a source gave before stays
                moved.
            NotFound, StateConflict: the new key cannot be used, or another process migrates with
                the same journal.
            PermissionDenied, RateLimited, Unavailable: policy or a store does not go along. What
                was moved until then stays; go on with the journal. Errors about single items are
                in the report.
        """
        return self._migrator.run(
            source,
            to_algorithm=to_algorithm,
            to_version=to_version,
            name=name,
            context=context,
            sink=sink,
            journal=journal,
            dry_run=dry_run,
            batch=batch,
            threads=threads,
            rate=rate,
            accept_compromised=accept_compromised,
            salt=salt,
            progress=progress,
        )

    def resign(
        self,
        message: bytes,
        signature: bytes,
        key_version: int,
        algorithm: str,
        *,
        to_algorithm: str,
        to_version: int | None = None,
        name: str = "default",
        context: Mapping[str, str] | None = None,
        accept_compromised: bool = False,
    ) -> ResignResult:
        """Verify a signature and sign the message anew, with a link to the former signature.

        Args:
            message: what was signed.
            signature: the former signature.
            key_version: its key version.
            algorithm: its algorithm.
            to_algorithm: of the new signature.
            to_version: its key version; the active one where none is given.
            name: key name, before and after.
            context: of the former signature; the new one's, in the result, has the link as well.
            accept_compromised: whether a compromised key may have made the former signature.

        Raises:
            ValidationError: the former signature is not valid, or a parameter is not.
        """
        return resign(
            self.signatures,
            message,
            signature,
            key_version,
            algorithm,
            to_algorithm=to_algorithm,
            to_version=to_version,
            name=name,
            context=context,
            accept_compromised=accept_compromised,
        )

    def __repr__(self) -> str:
        return f"<Session of tenant {self._context.tenant_id} for {self._context.actor!r}>"
