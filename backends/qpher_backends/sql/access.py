# SPDX-License-Identifier: Apache-2.0
"""The tables of API keys and of idempotency. One class a table reads and, in a transaction, writes.

An API key is looked for by its id alone, among all tenants: that is how a request's tenant
becomes known.
"""

import functools
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final

from qpher_backends.sql.run import Row, Run
from qpher_core.errors import IntegrityError, StateConflict
from qpher_core.models import (
    ApiKey,
    ApiKeyRecord,
    IdempotencyRecord,
    optional_moment,
    optional_rfc3339,
    rfc3339,
)

__all__ = ["ApiKeyTable", "IdempotencyTable"]

_PARSED_ROWS: Final = 1024

_COLUMNS: Final = (
    "key_id, tenant_id, name, scopes, version, created_at, expires_at, revoked_at,"
    " last_used_at, secret_hash"
)


class ApiKeyTable:
    """Implements ``ApiKeyRecords`` and ``ApiKeyRecordsWriter``."""

    #: Where one of any tenant is found by its id.
    by_id: ClassVar[str] = "api_keys WHERE key_id = ?"

    def __init__(self, run: Run) -> None:
        self._run = run

    def get(self, key_id: str) -> ApiKeyRecord | None:
        """Return one API key."""
        rows = self._run(None, f"SELECT {_COLUMNS} FROM {self.by_id}", (key_id,))
        return _record(rows[0]) if rows else None

    def find(self, tenant_id: uuid.UUID) -> Sequence[ApiKeyRecord]:
        """Return all API keys of a tenant."""
        rows = self._run(
            tenant_id,
            f"SELECT {_COLUMNS} FROM api_keys WHERE tenant_id = ? ORDER BY name, version",
            (str(tenant_id),),
        )
        return [_record(row) for row in rows]

    def insert(self, record: ApiKeyRecord) -> None:
        """Add an API key."""
        key = record.key
        added = self._run(
            key.tenant_id,
            f"INSERT INTO api_keys VALUES ({', '.join('?' * 10)})"
            " ON CONFLICT DO NOTHING RETURNING key_id",
            (
                key.id,
                str(key.tenant_id),
                key.name,
                " ".join(sorted(key.scopes)),
                key.version,
                rfc3339(key.created_at),
                optional_rfc3339(key.expires_at),
                optional_rfc3339(key.revoked_at),
                optional_rfc3339(key.last_used_at),
                record.secret_hash,
            ),
        )
        if not added:
            raise StateConflict("this API key exists", code="ERR_CONFLICT_001")

    def replace(self, record: ApiKeyRecord) -> None:
        """Overwrite expiry, revocation and last use."""
        key = record.key
        self._run(
            key.tenant_id,
            "UPDATE api_keys SET expires_at = ?, revoked_at = ?, last_used_at = ?"
            " WHERE tenant_id = ? AND key_id = ?",
            (
                optional_rfc3339(key.expires_at),
                optional_rfc3339(key.revoked_at),
                optional_rfc3339(key.last_used_at),
                str(key.tenant_id),
                key.id,
            ),
        )


class IdempotencyTable:
    """Implements ``IdempotencyRecords`` and ``IdempotencyRecordsWriter``."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def get(self, tenant_id: uuid.UUID, key_hash: bytes) -> IdempotencyRecord | None:
        """Return the call of one idempotency key."""
        rows = self._run(
            tenant_id,
            "SELECT fingerprint, request_id, created_at, answer FROM idempotency"
            " WHERE tenant_id = ? AND key_hash = ?",
            (str(tenant_id), key_hash),
        )
        return _call(tenant_id, key_hash, rows[0]) if rows else None

    def put(self, record: IdempotencyRecord) -> None:
        """Add or overwrite a record."""
        self._run(
            record.tenant_id,
            "INSERT INTO idempotency"
            " (tenant_id, key_hash, fingerprint, request_id, created_at, answer)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, key_hash) DO UPDATE SET"
            " fingerprint = excluded.fingerprint, request_id = excluded.request_id,"
            " created_at = excluded.created_at, answer = excluded.answer",
            (
                str(record.tenant_id),
                record.key_hash,
                record.fingerprint,
                str(record.request_id),
                rfc3339(record.created_at),
                record.answer,
            ),
        )

    def forget(self, tenant_id: uuid.UUID, before: datetime) -> None:
        """Remove the tenant's old records."""
        self._run(
            tenant_id,
            "DELETE FROM idempotency WHERE tenant_id = ? AND created_at < ?",
            (str(tenant_id), rfc3339(before)),
        )


@functools.lru_cache(_PARSED_ROWS)
def _record(row: Row) -> ApiKeyRecord:
    """Parse a row; equal rows are parsed once."""
    key_id, tenant_id, name, scopes, version, created, expires, revoked, used, secret_hash = row
    try:
        key = ApiKey(
            key_id,
            uuid.UUID(tenant_id),
            name,
            frozenset(scopes.split()),
            version,
            datetime.fromisoformat(created),
            optional_moment(expires),
            optional_moment(revoked),
            optional_moment(used),
        )
    except ValueError:
        raise IntegrityError("a stored API key is malformed: it was altered") from None
    return ApiKeyRecord(key, secret_hash)


def _call(tenant_id: uuid.UUID, key_hash: bytes, row: Row) -> IdempotencyRecord:
    fingerprint, request_id, created, answer = row
    try:
        request, moment = uuid.UUID(request_id), datetime.fromisoformat(created)
    except ValueError:
        raise IntegrityError("a stored idempotency record is malformed: it was altered") from None
    return IdempotencyRecord(tenant_id, key_hash, fingerprint, request, moment, answer)
