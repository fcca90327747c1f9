# SPDX-License-Identifier: Apache-2.0
"""Key encryption keys and scheduled rotation of a service elsewhere."""

import uuid
from typing import Any

from attrs import frozen

from qpher_backends.remote.answers import key_version, record_of, time_or_none, uuid_of
from qpher_backends.remote.link import Link
from qpher_core.asgi.models_upkeep import ScheduledInfo
from qpher_core.models import ProtectorStatus, RewrapReport
from qpher_core.service_maintenance import Due, MaintenanceReport, ScheduledKey, UnreadTenant

__all__ = ["RemoteProtector", "maintain"]


@frozen
class RemoteProtector:
    """The key encryption keys (KEKs) of a service; which ones it can use is decided there."""

    _link: Link

    def status(self) -> ProtectorStatus:
        """Count the records under each KEK."""

        def read(answer: Any, _: uuid.UUID) -> ProtectorStatus:
            return ProtectorStatus(answer.kek_id, answer.records, tuple(answer.replaced))

        return self._link.call("GET", "/admin/protector", read)

    def rewrap(self) -> RewrapReport:
        """Seal every record under the KEK in use.

        Raises:
            OutcomeUnknown: it takes longer than the deadline, and goes on; so does another call.
        """

        def read(answer: Any, _: uuid.UUID) -> RewrapReport:
            damaged = tuple(record_of(record) for record in answer.damaged)
            return RewrapReport(answer.kek_id, answer.moved, damaged, tuple(answer.replaced))

        return self._link.call("POST", "/admin/protector/rewrap", read)


def maintain(link: Link, tenant: str | uuid.UUID | None, *, dry_run: bool) -> MaintenanceReport:
    """Rotate every key that is due by the rotation rules."""

    def read(answer: Any, _: uuid.UUID) -> MaintenanceReport:
        unread = tuple(UnreadTenant(info.tenant, info.problem) for info in answer.unread)
        return MaintenanceReport(tuple(_scheduled(info) for info in answer.keys), unread)

    body = {"tenant": None if tenant is None else str(tenant), "dry_run": dry_run}
    return link.call("POST", "/admin/maintenance", read, body=body)


def _scheduled(info: ScheduledInfo) -> ScheduledKey:
    return ScheduledKey(
        info.tenant,
        key_version(info.key, uuid_of(info.tenant_id)),
        Due(info.standing),
        time_or_none(info.due_at),
        info.uses,
        info.max_uses,
        info.replaced_by,
        info.problem,
    )
