# SPDX-License-Identifier: Apache-2.0
"""The caller's audit log: entries, proofs, anchors, verification, export; the export of any."""

from collections.abc import Iterator
from itertools import islice
from typing import Final
from uuid import UUID

from qpher_core.algorithms import find
from qpher_core.asgi import models_audit as models
from qpher_core.asgi.endpoint import Ask, Endpoint, Raw
from qpher_core.asgi.routes_tenants import owner_of
from qpher_core.audit.records import StoredAnchor
from qpher_core.audit.selection import EntryFilter
from qpher_core.errors import NotFound
from qpher_core.models import AuditEntry, rfc3339

__all__ = ["ENDPOINTS"]

_TAG: Final = "Audit"
_PIECE: Final = 1 << 16  # bytes of an export that are sent at once


def entries(ask: Ask) -> models.EntryList:
    """Return a page of entries."""
    params: models.EntryParams = ask.params
    where = _where(params)
    page = ask.session.audit.page(cursor=params.cursor, limit=params.limit, where=where)
    return models.EntryList([_entry(entry) for entry in page.entries], page.cursor)


def entry(ask: Ask) -> models.Entry:
    """Return one entry."""
    return _entry(_found(ask))


def proof(ask: Ask) -> models.Proof:
    """Return an entry with its proof."""
    found = _found(ask)
    return models.Proof(_entry(found), ask.session.audit.proof(found.receipt))


def anchors(ask: Ask) -> models.AnchorList:
    """Return a page of anchors."""
    params: models.AnchorParams = ask.params
    ask.kms.permit(ask.context, "audit.read")
    found = ask.kms.anchors.list(ask.tenant, start=params.start)
    page = [_anchor(anchor) for anchor in islice(found, params.limit)]
    following = next(found, None)
    return models.AnchorList(page, None if following is None else following.size)


def latest_anchor(ask: Ask) -> models.Anchor:
    """Return the last anchor."""
    ask.kms.permit(ask.context, "audit.read")
    found = ask.kms.anchors.latest(ask.tenant)
    if found is None:
        raise NotFound("the log has no anchor yet")
    return _anchor(found)


def verify(ask: Ask) -> models.LogReport:
    """Verify the whole log."""
    report = ask.session.audit.verify()
    return models.LogReport(
        report.ok, report.entries, report.bad_seq, report.problem, report.head.hex()
    )


def export(ask: Ask) -> Raw:
    """Export the log, which is anchored first."""
    ask.kms.permit(ask.context, "audit.read")
    return _export(ask, ask.tenant.id)


def export_any(ask: Ask) -> Raw:
    """Export the log of a tenant or of the service, which is anchored first."""
    return _export(ask, owner_of(ask.params))


def _export(ask: Ask, owner: UUID | None) -> Raw:
    return Raw("application/jsonl", _pieces(ask.kms.audit.lines(owner, where=_where(ask.params))))


def _where(params: models.ExportParams) -> EntryFilter | None:
    """Return the filter, if there is one."""
    where = EntryFilter(
        since=params.since,
        until=params.until,
        actor=params.actor,
        action=params.action,
        outcome=params.outcome,
        name=params.name,
        algorithm=None if params.algorithm is None else find(params.algorithm).name,
        version=params.version,
    )
    return None if where == EntryFilter() else where


def _pieces(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines in pieces: each costs a turn of the event loop."""
    gathered, size = [], 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= _PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


def _found(ask: Ask) -> AuditEntry:
    seq: int = ask.params.seq
    for found in ask.session.audit.entries(start=seq, limit=1):
        if found.seq == seq:
            return found
        raise NotFound(f"audit entry {seq} was moved out", parameter="seq")
    raise NotFound("the log has no such entry", parameter="seq")


def _entry(found: AuditEntry) -> models.Entry:
    return models.Entry(found.seq, found.hash.hex(), found.body.decode())


def _anchor(found: StoredAnchor) -> models.Anchor:
    return models.Anchor(found.size, rfc3339(found.time), found.note)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/audit/entries",
        handler=entries,
        params=models.EntryParams,
        answer=models.EntryList,
        summary="A page of entries that match",
        tag=_TAG,
        operations=("audit.read",),
    ),
    Endpoint(
        method="GET",
        path="/audit/entries/{seq}",
        handler=entry,
        params=models.SeqParams,
        answer=models.Entry,
        summary="One entry",
        tag=_TAG,
        operations=("audit.read",),
    ),
    Endpoint(
        method="GET",
        path="/audit/entries/{seq}/proof",
        handler=proof,
        params=models.SeqParams,
        answer=models.Proof,
        summary="An entry with the proof that the log holds it",
        tag=_TAG,
        operations=("audit.read", "audit.proof"),
    ),
    Endpoint(
        method="GET",
        path="/audit/anchors",
        handler=anchors,
        params=models.AnchorParams,
        answer=models.AnchorList,
        summary="Signed states of the log",
        tag=_TAG,
        operations=("audit.read",),
    ),
    Endpoint(
        method="GET",
        path="/audit/anchors/latest",
        handler=latest_anchor,
        answer=models.Anchor,
        summary="The last signed state of the log",
        tag=_TAG,
        operations=("audit.read",),
    ),
    Endpoint(
        method="GET",
        path="/audit/verify",
        handler=verify,
        answer=models.LogReport,
        summary="Verify the whole log",
        tag=_TAG,
        operations=("audit.verify",),
    ),
    Endpoint(
        method="GET",
        path="/audit/export",
        handler=export,
        params=models.ExportParams,
        answer=None,
        summary="The log as JSON Lines, or chosen entries with proofs; it verifies by itself",
        tag=_TAG,
        operations=("audit.read",),
    ),
    Endpoint(
        method="GET",
        path="/admin/tenants/{tenant_id}/audit/export",
        handler=export_any,
        params=models.LogParams,
        answer=None,
        summary="The log of a tenant, or of the service, as JSON Lines",
        tag="Administration",
        operations=("audit.read",),
    ),
)
