# SPDX-License-Identifier: Apache-2.0
"""API keys and idempotency records as documents. One class a table reads and writes.

api-keys/<id>.json              one API key
tenant-api-keys/<tenant>.json   the ids of a tenant's API keys
idempotency/<tenant>/<xx>.json  calls whose key hash begins with these two digits
"""

import base64
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from qpher_backends.filesystem.names import component
from qpher_backends.filesystem.tables import tenant_path
from qpher_backends.filesystem.view import Look, Transaction, View
from qpher_core.errors import IntegrityError, StateConflict, StoreUnavailable
from qpher_core.models import (
    ApiKey,
    ApiKeyRecord,
    IdempotencyRecord,
    optional_moment,
    optional_rfc3339,
    rfc3339,
)

__all__ = ["ApiKeyTable", "ApiKeyWriter", "IdempotencyTable", "IdempotencyWriter"]


class ApiKeyTable:
    """Implements ``ApiKeyRecords``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def get(self, key_id: str) -> ApiKeyRecord | None:
        """Return one API key."""
        found = self._look(lambda view: view.read(_key_path(key_id), _api_key))
        return found if found is not None and found.key.id == key_id else None

    def find(self, tenant_id: uuid.UUID) -> Sequence[ApiKeyRecord]:
        """Return all API keys of a tenant."""

        def look(view: View) -> list[ApiKeyRecord | None]:
            ids = view.read(_ids_path(tenant_id), _ids) or ()
            return [view.read(_key_path(key_id), _api_key) for key_id in ids]

        found = [r for r in self._look(look) if r is not None and r.key.tenant_id == tenant_id]
        return sorted(found, key=lambda record: (record.key.name, record.key.version))


class ApiKeyWriter(ApiKeyTable):
    """Implements ``ApiKeyRecordsWriter``."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(lambda function: function(transaction))
        self._transaction = transaction

    def insert(self, record: ApiKeyRecord) -> None:
        """Add an API key."""
        key = record.key
        if not self._transaction.exists(tenant_path(key.tenant_id)):
            raise StoreUnavailable("an API key belongs to an existing tenant")
        others = self.find(key.tenant_id)
        taken = {(other.key.name, other.key.version) for other in others}
        if self.get(key.id) is not None or (key.name, key.version) in taken:
            raise StateConflict("this API key exists", code="ERR_CONFLICT_001")
        ids = sorted([key.id, *(other.key.id for other in others)])
        self._transaction.write(_ids_path(key.tenant_id), {"ids": ids})
        self._write(record)

    def replace(self, record: ApiKeyRecord) -> None:
        """Overwrite an existing API key."""
        if self.get(record.key.id) is not None:
            self._write(record)

    def _write(self, record: ApiKeyRecord) -> None:
        key = record.key
        self._transaction.write(
            _key_path(key.id),
            {
                "id": key.id,
                "tenant": str(key.tenant_id),
                "name": key.name,
                "scopes": sorted(key.scopes),
                "version": key.version,
                "created_at": rfc3339(key.created_at),
                "expires_at": optional_rfc3339(key.expires_at),
                "revoked_at": optional_rfc3339(key.revoked_at),
                "last_used_at": optional_rfc3339(key.last_used_at),
                "secret_hash": record.secret_hash.hex(),
            },
        )


def _key_path(key_id: str) -> str:
    return f"api-keys/{component(key_id)}.json"


def _ids_path(tenant_id: uuid.UUID) -> str:
    return f"tenant-api-keys/{tenant_id}.json"


def _ids(document: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(key_id) for key_id in document["ids"])


def _api_key(document: Mapping[str, Any]) -> ApiKeyRecord:
    key = ApiKey(
        str(document["id"]),
        uuid.UUID(document["tenant"]),
        str(document["name"]),
        frozenset(str(scope) for scope in document["scopes"]),
        int(document["version"]),
        datetime.fromisoformat(document["created_at"]),
        optional_moment(document["expires_at"]),
        optional_moment(document["revoked_at"]),
        optional_moment(document["last_used_at"]),
    )
    return ApiKeyRecord(key, bytes.fromhex(document["secret_hash"]))


class IdempotencyTable:
    """Implements ``IdempotencyRecords``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def get(self, tenant_id: uuid.UUID, key_hash: bytes) -> IdempotencyRecord | None:
        """Return the call of one idempotency key."""
        rows = self._look(lambda view: view.read(_calls_path(tenant_id, key_hash), _calls)) or {}
        row = rows.get(key_hash.hex())
        return None if row is None else _call(tenant_id, key_hash, row)


class IdempotencyWriter(IdempotencyTable):
    """Implements ``IdempotencyRecordsWriter``; documents of forgotten calls stay, empty."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(lambda function: function(transaction))
        self._transaction = transaction

    def put(self, record: IdempotencyRecord) -> None:
        """Add or overwrite a record."""
        path = _calls_path(record.tenant_id, record.key_hash)
        rows = dict(self._transaction.read(path, _calls) or {})
        rows[record.key_hash.hex()] = {
            "fingerprint": record.fingerprint.hex(),
            "request_id": str(record.request_id),
            "created_at": rfc3339(record.created_at),
            "answer": None if record.answer is None else base64.b64encode(record.answer).decode(),
        }
        self._transaction.write(path, {"calls": rows})

    def forget(self, tenant_id: uuid.UUID, before: datetime) -> None:
        """Remove the tenant's old records."""
        limit = rfc3339(before)
        for name in self._transaction.names(_calls_folder(tenant_id)):
            path = f"{_calls_folder(tenant_id)}/{name}"
            rows = self._transaction.read(path, _calls) or {}
            kept = {key: row for key, row in rows.items() if row["created_at"] >= limit}
            if len(kept) < len(rows):
                self._transaction.write(path, {"calls": kept})


def _calls_folder(tenant_id: uuid.UUID) -> str:
    return f"idempotency/{tenant_id}"


def _calls_path(tenant_id: uuid.UUID, key_hash: bytes) -> str:
    return f"{_calls_folder(tenant_id)}/{key_hash[:1].hex()}.json"


def _calls(document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    calls = {str(key): dict(row) for key, row in document["calls"].items()}
    return {key: row | {"created_at": str(row["created_at"])} for key, row in calls.items()}


def _call(tenant_id: uuid.UUID, key_hash: bytes, row: Mapping[str, Any]) -> IdempotencyRecord:
    try:
        answer = row["answer"]
        return IdempotencyRecord(
            tenant_id,
            key_hash,
            bytes.fromhex(row["fingerprint"]),
            uuid.UUID(row["request_id"]),
            datetime.fromisoformat(row["created_at"]),
            None if answer is None else base64.b64decode(answer),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IntegrityError("a stored idempotency record is malformed: it was altered") from None
