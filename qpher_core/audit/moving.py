# SPDX-License-Identifier: Apache-2.0
"""Reading a log while its beginning is moved out, by this process or another.

Whoever reads then misses entries and hashes that were there a moment ago, as if somebody had
removed them. It is no forgery: what fails for it is done anew from where the log begins by now.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from qpher_core.audit.records import EMPTY_LOG, LogState
from qpher_core.errors import IntegrityError, NotFound, StateConflict
from qpher_core.models import AuditEntry
from qpher_core.protocols import AuditRecords

__all__ = ["begins_at", "check_kept", "kept_entries", "unbroken", "while_it_moves"]

T = TypeVar("T")


def begins_at(records: AuditRecords, tenant_id: uuid.UUID) -> int:
    """Return the place of the first entry that was not moved out."""
    return (records.base(tenant_id) or EMPTY_LOG).size


def while_it_moves(records: AuditRecords, tenant_id: uuid.UUID, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, which is done anew if it fails as entries were moved out."""
    begin = begins_at(records, tenant_id)
    while True:
        try:
            return work()
        except (IntegrityError, NotFound):
            before, begin = begin, begins_at(records, tenant_id)
            if begin == before:
                raise


def kept_entries(
    records: AuditRecords, tenant_id: uuid.UUID, base: LogState, size: int
) -> Iterator[AuditEntry]:
    """Yield the entries from a base to a size, for an export.

    Raises:
        StateConflict: some of them were moved out meanwhile.
    """
    expected = base.size
    entries = records.read(tenant_id, start=expected, limit=size - expected)
    for entry in unbroken(records, tenant_id, entries, expected):
        yield entry
        expected = entry.seq + 1
    if expected < size:
        check_kept(records, tenant_id, expected)


def unbroken(
    records: AuditRecords,
    tenant_id: uuid.UUID,
    entries: Iterable[AuditEntry],
    expected: int | None = None,
) -> Iterator[AuditEntry]:
    """Pass entries on, the first of them at any place if none is expected.

    Raises:
        StateConflict: those that were to follow were moved out meanwhile.
    """
    for entry in entries:
        if expected is not None and entry.seq > expected:
            check_kept(records, tenant_id, expected)
        yield entry
        expected = entry.seq + 1


def check_kept(records: AuditRecords, tenant_id: uuid.UUID, seq: int) -> None:
    """Raise ``StateConflict`` if an entry was moved out."""
    if seq < begins_at(records, tenant_id):
        raise StateConflict("entries were moved out while the log was read; begin anew")
