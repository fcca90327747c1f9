# SPDX-License-Identifier: Apache-2.0
"""``Qpher.audit``: the logs of all tenants, for the holder of the service."""

import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from attrs import evolve

from qpher_core.audit.anchors import Anchorer
from qpher_core.audit.export import export_lines, write_export
from qpher_core.audit.moving import begins_at, while_it_moves
from qpher_core.audit.retention import Retention, Segment
from qpher_core.audit.selected import selection_lines
from qpher_core.audit.selection import EntryFilter
from qpher_core.errors import IntegrityError, NotFound
from qpher_core.models import OPERATOR, SERVICE, AuditReport, Receipt
from qpher_core.protocols import AuditLog, Store
from qpher_core.service_tenants import Tenants
from qpher_core.validation import check_name

__all__ = ["ServiceAudit"]


class ServiceAudit:
    """The audit logs of all tenants, for the holder of the service."""

    def __init__(
        self,
        store: Store,
        audit: AuditLog,
        anchorer: Anchorer,
        tenants: Tenants,
        retention: Retention,
    ) -> None:
        self._store = store
        self._audit = audit
        self._anchorer = anchorer
        self._tenants = tenants
        self._retention = retention

    def verify(self, tenant: str | uuid.UUID | None = None) -> AuditReport:
        """Check chain, tree and anchors of a tenant's log, or of the service's own.

        It may grow meanwhile. What was moved out is not looked at; verify those files.
        """
        tenant_id = self._id(tenant)
        return while_it_moves(self._store.audit, tenant_id, lambda: self._verify(tenant_id))

    def _verify(self, tenant_id: uuid.UUID) -> AuditReport:
        report = self._audit.verify(tenant_id)
        if not report.ok:
            return report
        begin = begins_at(self._store.audit, tenant_id)
        bad = self._anchorer.first_bad(tenant_id, begin, report.entries)
        return report if bad is None else evolve(report, bad_seq=bad[0], problem=bad[1])

    def export(
        self,
        target: str | Path,
        tenant: str | uuid.UUID | None = None,
        *,
        where: EntryFilter | None = None,
    ) -> None:
        """Write the log of a tenant, or of the service itself, as JSON Lines.

        It is anchored first, so that the last anchor signs the export. A name that ends with
        ``.gz`` is compressed. ``qpher-core audit verify`` checks it anywhere.

        Args:
            target: the file, which appears complete and durable or not at all.
            tenant: whose log; the service's own where none is given.
            where: which entries, each with its proof; all of the log where none is given.

        Raises:
            NotFound: there is no such tenant; or entries are chosen from an empty log.
            AuditIntegrityError: the log does not continue what was anchored before.
            OSError: the file cannot be written.
        """
        write_export(self.lines(tenant, where=where), Path(target))

    def lines(
        self, tenant: str | uuid.UUID | None = None, *, where: EntryFilter | None = None
    ) -> Iterator[bytes]:
        """Yield the lines of an export; see :meth:`export`."""
        if where is not None:
            return selection_lines(self._store, self._anchorer, self._id(tenant), where)
        return export_lines(self._store, self._anchorer, self._id(tenant))

    def move_out(
        self,
        folder: str | Path,
        tenant: str | uuid.UUID | None = None,
        *,
        until: int | datetime | None = None,
        actor: str = OPERATOR,
    ) -> Segment:
        """Move the first entries of a log out of the store, to a file in a folder.

        Only what an anchor covers is moved. The log goes on from that anchor, and verifies from
        it; the file is an export that verifies alone and together with what comes after it
        (``verify_exports``), and gives the proofs of its entries (``prove_from_export``). That it
        was moved is itself an entry, which holds the digest of the file. Keep the file: the
        store has no copy.

        Args:
            folder: where the file goes, as ``<tenant id>-<first>-<end>.jsonl.gz``.
            tenant: whose log; the service's own where none is given.
            until: what may be moved: as many entries of the log, or what was anchored before a
                moment; the last anchor before that decides. All that is anchored, where none is
                given.
            actor: who does it, for the log.

        Raises:
            NotFound: there is no such tenant, or no anchor after what was moved before.
            StateConflict: another process moved entries out at the same moment.
            AuditIntegrityError: the log does not verify. Nothing is moved, as with the others.
            Unavailable: the last anchor could not be published everywhere.
            OSError: the file cannot be written.
        """
        return self._retention.move_out(
            self._id(tenant), Path(folder), until, check_name(actor, "actor")
        )

    def _id(self, tenant: str | uuid.UUID | None) -> uuid.UUID:
        return SERVICE if tenant is None else self._tenants.get(tenant).id

    def has(self, receipt: Receipt) -> bool:
        """Return whether the log holds the entry of a receipt, unaltered, at its place."""
        try:
            self._audit.entry(receipt)
        except (IntegrityError, NotFound):
            return False
        return True
