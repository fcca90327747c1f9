# SPDX-License-Identifier: Apache-2.0
"""Exports of the audit logs of a service elsewhere."""

import uuid
from pathlib import Path

from attrs import frozen

from qpher_backends.remote.audit import filter_values
from qpher_backends.remote.link import Link
from qpher_backends.remote.owners import id_of, own
from qpher_core.audit.export import write_export
from qpher_core.audit.selection import EntryFilter

__all__ = ["RemoteLogs"]


@frozen
class RemoteLogs:
    """Logs: the API key's own tenant's with the scope ``audit``, others with ``admin``."""

    _link: Link

    def export(
        self,
        target: str | Path,
        tenant: str | uuid.UUID | None = None,
        *,
        where: EntryFilter | None = None,
    ) -> None:
        """Write the log of a tenant, or of the service itself, as JSON Lines.

        The answer is believed no more than any file: ``qpher-core audit verify`` checks it.

        Raises:
            Unavailable: the answer was cut; no file appears then, and an older one stays.
        """
        path, values = self._of(tenant)
        pieces = self._link.stream(path, {**values, **filter_values(where)})
        write_export(pieces, Path(target))

    def _of(self, tenant: str | uuid.UUID | None) -> tuple[str, dict[str, object]]:
        every = "/admin/tenants/{tenant_id}/audit/export"
        if tenant is None:
            return every, {"tenant_id": "service"}
        if str(tenant) in map(str, own(self._link)):
            return "/audit/export", {}
        return every, {"tenant_id": id_of(self._link, tenant)}
