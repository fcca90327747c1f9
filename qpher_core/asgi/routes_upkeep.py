# SPDX-License-Identifier: Apache-2.0
"""Key encryption keys and scheduled rotation, for administrators. The gateway asks for leave."""

from typing import Final

from qpher_core.asgi import models_upkeep as models
from qpher_core.asgi.endpoint import Ask, Endpoint
from qpher_core.asgi.names import key_info, wire
from qpher_core.models import KeyRef, optional_rfc3339
from qpher_core.service_maintenance import ScheduledKey

__all__ = ["ENDPOINTS"]

_TAG: Final = "Administration"


def protector(ask: Ask) -> models.ProtectorInfo:
    """Count the records under each key encryption key."""
    found = ask.kms.protector.status()
    return models.ProtectorInfo(found.kek_id, dict(found.records), list(found.replaced))


def rewrap(ask: Ask) -> models.Rewrapped:
    """Seal every record under the key encryption key in use."""
    report = ask.kms.protector.rewrap(actor=ask.context)
    damaged = [_record(ref) for ref in report.damaged]
    return models.Rewrapped(report.kek_id, report.moved, damaged, list(report.replaced))


def maintain(ask: Ask) -> models.Maintained:
    """Rotate the keys that are due."""
    body: models.Maintain = ask.body
    report = ask.kms.maintain(body.tenant, dry_run=body.dry_run, actor=ask.context)
    unread = [models.UnreadInfo(found.tenant, found.problem) for found in report.unread]
    return models.Maintained([_scheduled(key) for key in report.keys], unread)


def _record(ref: KeyRef) -> models.RecordInfo:
    return models.RecordInfo(str(ref.tenant_id), ref.name, wire(ref.algorithm), ref.version)


def _scheduled(found: ScheduledKey) -> models.ScheduledInfo:
    return models.ScheduledInfo(
        str(found.key.ref.tenant_id),
        found.tenant,
        key_info(found.key),
        found.due.value,
        optional_rfc3339(found.due_at),
        found.uses,
        found.max_uses,
        found.replaced_by,
        found.problem,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/admin/protector",
        handler=protector,
        answer=models.ProtectorInfo,
        summary="How many records are under which key encryption key",
        tag=_TAG,
        operations=("protector.read",),
    ),
    Endpoint(
        method="POST",
        path="/admin/protector/rewrap",
        handler=rewrap,
        answer=models.Rewrapped,
        summary="Seal every record under the key encryption key in use",
        tag=_TAG,
        operations=("protector.rewrap",),
        changes=True,
    ),
    Endpoint(
        method="POST",
        path="/admin/maintenance",
        handler=maintain,
        body=models.Maintain,
        answer=models.Maintained,
        summary="Rotate the keys that are due by the rotation rules",
        tag=_TAG,
        operations=("maintenance.run",),
        changes=True,
    ),
)
