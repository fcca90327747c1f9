# SPDX-License-Identifier: Apache-2.0
"""What a tenant uses, for quotas.

It is read from what the store holds anyway; nothing is counted beside it, so no counter can be
lost or reset.
"""

import uuid
from datetime import UTC, datetime
from typing import Final, Protocol

from qpher_core._cache import BoundedCache
from qpher_core.lifecycle import KeyState
from qpher_core.protocols import ApiKeyRecords, AuditRecords, KeyRecords

__all__ = ["StoreUsage", "Usage", "next_month"]

_MONTHS: Final = 4096


class Usage(Protocol):
    """What quotas are measured against."""

    def calls(self, tenant_id: uuid.UUID, now: datetime) -> int:
        """Return how many operations were recorded in the calendar month of ``now``, UTC."""

    def key_versions(self, tenant_id: uuid.UUID) -> int:
        """Return how many key versions exist and are not destroyed."""

    def api_keys(self, tenant_id: uuid.UUID, now: datetime) -> int:
        """Return how many API keys are valid."""


class StoreUsage:
    """Usage as a store's keys, API keys and audit log show it."""

    def __init__(self, keys: KeyRecords, audit: AuditRecords, api_keys: ApiKeyRecords) -> None:
        self._keys = keys
        self._audit = audit
        self._api_keys = api_keys
        self._starts: BoundedCache[tuple[uuid.UUID, datetime], int] = BoundedCache(_MONTHS)

    def calls(self, tenant_id: uuid.UUID, now: datetime) -> int:
        """Return the entries of the tenant's log since the month began, refusals included."""
        size, _ = self._audit.head(tenant_id)
        if size == 0:
            return 0
        month = _month_of(now)
        start = self._starts.get((tenant_id, month), lambda _: self._first(tenant_id, month, size))
        if start >= size:  # nothing of it yet: entries of earlier months may still come
            self._starts.discard((tenant_id, month))
        return max(0, size - start)

    def key_versions(self, tenant_id: uuid.UUID) -> int:
        """Return the number of records that are not destroyed."""
        records = self._keys.find(tenant_id)
        return sum(record.key.state is not KeyState.DESTROYED for record in records)

    def api_keys(self, tenant_id: uuid.UUID, now: datetime) -> int:
        """Return the number of API keys that are accepted at a moment."""
        return sum(record.key.valid(now) for record in self._api_keys.find(tenant_id))

    def _first(self, tenant_id: uuid.UUID, month: datetime, size: int) -> int:
        """Return the number of entries before a month, by bisection: times follow the order."""
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            if self._time(tenant_id, middle) < month:
                low = middle + 1
            else:
                high = middle
        return low

    def _time(self, tenant_id: uuid.UUID, seq: int) -> datetime:
        for entry in self._audit.read(tenant_id, start=seq, limit=1):
            return datetime.fromisoformat(str(entry.fields["time"]))
        return datetime.min.replace(tzinfo=UTC)  # moved out of the store: long ago


def _month_of(moment: datetime) -> datetime:
    """Return the first instant of a moment's calendar month, UTC."""
    utc = moment.astimezone(UTC)
    return datetime(utc.year, utc.month, 1, tzinfo=UTC)


def next_month(moment: datetime) -> datetime:
    """Return the first instant of the calendar month after a moment's, UTC: when quotas renew."""
    start = _month_of(moment)
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
