# SPDX-License-Identifier: Apache-2.0
"""The tables as the protocols see them. One class a table reads and, in a transaction, writes.

For reading, ``run`` borrows a connection from the pool; for writing it is the connection of the
transaction.
"""

import functools
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from qpher_backends.sql.run import Row, Run
from qpher_core.errors import IntegrityError, StateConflict
from qpher_core.lifecycle import KeyState
from qpher_core.models import (
    SERVICE,
    Intent,
    KeyRecord,
    KeyRef,
    KeyVersion,
    PolicyDocument,
    Tenant,
    TenantStatus,
    optional_moment,
    optional_rfc3339,
    rfc3339,
)

__all__ = ["IntentTable", "KeyTable", "PolicyTable", "TenantTable"]


_PARSED_ROWS: Final = 1024


class KeyTable:
    """Implements ``KeyRecords`` and ``KeyRecordsWriter`` over one of the two tables of keys.

    Args:
        run: executes one statement.
        table: ``key_versions``, or ``service_keys`` for those of the service itself.
    """

    def __init__(self, run: Run, table: str = "key_versions") -> None:
        self._run = run
        self._table = table
        self._select = (
            "SELECT tenant_id, name, algorithm, version, state, public_key, created_at,"
            f" changed_at, reason, revision, kek_id, sealed, compromised_at"
            f" FROM {table} WHERE tenant_id = ?"
        )

    def get(self, ref: KeyRef) -> KeyRecord | None:
        """Return one record."""
        rows = self._run(
            ref.tenant_id,
            self._select + " AND name = ? AND algorithm = ? AND version = ?",
            _address(ref),
        )
        return _record(rows[0]) if rows else None

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyRecord | None:
        """Return the active version."""
        rows = self._run(
            tenant_id,
            self._select + " AND name = ? AND algorithm = ? AND state = 'active'",
            (str(tenant_id), name, algorithm),
        )
        return _record(rows[0]) if rows else None

    def find(
        self,
        tenant_id: uuid.UUID,
        *,
        name: str | None = None,
        algorithm: str | None = None,
        state: KeyState | None = None,
        after: KeyRef | None = None,
        limit: int | None = None,
    ) -> Sequence[KeyRecord]:
        """Return the records that match."""
        wanted = {"name": name, "algorithm": algorithm, "state": state and str(state)}
        given = {column: value for column, value in wanted.items() if value is not None}
        conditions = "".join(f" AND {column} = ?" for column in given)
        values: list[object] = [str(tenant_id), *given.values()]
        if after is not None:
            conditions += " AND (name, algorithm, version) > (?, ?, ?)"
            values += [after.name, after.algorithm, after.version]
        conditions += " ORDER BY name, algorithm, version"
        if limit is not None:
            conditions += " LIMIT ?"
            values.append(limit)
        rows = self._run(tenant_id, self._select + conditions, values)
        return [_record(row) for row in rows]

    def kek_ids(self) -> frozenset[str]:
        """Return the ids of all key encryption keys in use."""
        sql = f"SELECT DISTINCT kek_id FROM {self._table} WHERE sealed IS NOT NULL"
        rows = self._run(None, sql, ())
        return frozenset(row[0] for row in rows)

    def next_version(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> int:
        """Return one more than the highest version that ever existed."""
        rows = self._run(
            tenant_id,
            f"SELECT max(version) FROM {self._table}"
            " WHERE tenant_id = ? AND name = ? AND algorithm = ?",
            (str(tenant_id), name, algorithm),
        )
        return (rows[0][0] or 0) + 1

    def insert(self, record: KeyRecord) -> None:
        """Add a record."""
        key = record.key
        self._check_one_active(key)
        self._run(
            key.ref.tenant_id,
            f"INSERT INTO {self._table} VALUES ({', '.join('?' * 13)})",
            (
                *_address(key.ref),
                str(key.state),
                key.public_key,
                rfc3339(key.created_at),
                rfc3339(key.changed_at),
                key.reason,
                key.revision,
                record.kek_id,
                record.sealed,
                optional_rfc3339(key.compromised_at),
            ),
        )

    def replace(self, record: KeyRecord, *, revision: int) -> bool:
        """Compare-and-swap on the revision."""
        key = record.key
        self._check_one_active(key)
        rows = self._run(
            key.ref.tenant_id,
            f"UPDATE {self._table} SET state = ?, changed_at = ?, reason = ?, revision = ?,"
            " kek_id = ?, sealed = ?, compromised_at = ?"
            " WHERE tenant_id = ? AND name = ? AND algorithm = ?"
            " AND version = ? AND revision = ? RETURNING version",
            (
                str(key.state),
                rfc3339(key.changed_at),
                key.reason,
                key.revision,
                record.kek_id,
                record.sealed,
                optional_rfc3339(key.compromised_at),
                *_address(key.ref),
                revision,
            ),
        )
        return bool(rows)

    def _check_one_active(self, key: KeyVersion) -> None:
        """Refuse a second active version; commits of a tenant go one at a time."""
        if key.state is not KeyState.ACTIVE:
            return
        active = self.active(key.ref.tenant_id, key.name, key.algorithm)
        if active is not None and active.key.ref != key.ref:
            raise StateConflict(f"another version of {key.algorithm} key {key.name!r} is active")


class TenantTable:
    """Implements ``TenantDirectory`` and ``TenantDirectoryWriter``."""

    _SELECT = "SELECT tenant_id, name, plan, status, created_at, updated_at FROM tenants"

    def __init__(self, run: Run) -> None:
        self._run = run

    def get(self, tenant_id: uuid.UUID) -> Tenant | None:
        """Return a tenant by id."""
        rows = self._run(tenant_id, self._SELECT + " WHERE tenant_id = ?", (str(tenant_id),))
        return _tenant(rows[0]) if rows else None

    def by_name(self, name: str) -> Tenant | None:
        """Return a tenant by name."""
        rows = self._run(None, self._SELECT + " WHERE name = ?", (name,))
        return _tenant(rows[0]) if rows else None

    def all(self) -> Sequence[Tenant]:
        """Return all tenants, by name."""
        return [_tenant(row) for row in self._run(None, self._SELECT + " ORDER BY name", ())]

    def insert(self, tenant: Tenant) -> None:
        """Add a tenant."""
        added = self._run(
            tenant.id,
            "INSERT INTO tenants VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO NOTHING RETURNING tenant_id",
            (
                str(tenant.id),
                tenant.name,
                tenant.plan,
                str(tenant.status),
                rfc3339(tenant.created_at),
                rfc3339(tenant.updated_at),
            ),
        )
        if not added:
            raise StateConflict(f"a tenant named {tenant.name!r} exists", code="ERR_CONFLICT_001")

    def replace(self, tenant: Tenant) -> None:
        """Overwrite plan, status and time."""
        self._run(
            tenant.id,
            "UPDATE tenants SET plan = ?, status = ?, updated_at = ? WHERE tenant_id = ?",
            (tenant.plan, str(tenant.status), rfc3339(tenant.updated_at), str(tenant.id)),
        )


class PolicyTable:
    """Implements ``PolicyRecords`` and ``PolicyRecordsWriter``."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        """Return the current document."""
        rows = self._run(
            tenant_id or SERVICE,
            "SELECT revision, rules FROM policies WHERE tenant_id = ?"
            " ORDER BY revision DESC LIMIT 1",
            (_owner(tenant_id),),
        )
        return PolicyDocument(tenant_id, *rows[0]) if rows else None

    def revision(self, tenant_id: uuid.UUID | None, number: int) -> PolicyDocument | None:
        """Return one revision."""
        rows = self._run(
            tenant_id or SERVICE,
            "SELECT revision, rules FROM policies WHERE tenant_id = ? AND revision = ?",
            (_owner(tenant_id), number),
        )
        return PolicyDocument(tenant_id, *rows[0]) if rows else None

    def insert(self, document: PolicyDocument) -> None:
        """Add the next revision."""
        self._run(
            document.tenant_id or SERVICE,
            "INSERT INTO policies VALUES (?, ?, ?)",
            (_owner(document.tenant_id), document.revision, document.rules),
        )


class IntentTable:
    """Implements ``IntentRecords`` and ``IntentRecordsWriter``."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def all(self) -> Sequence[Intent]:
        """Return all intents."""
        return [_intent(row) for row in self._run(None, "SELECT id, entries FROM intents", ())]

    def add(self, intent: Intent) -> None:
        """Add an intent."""
        entries = json.dumps([[str(tenant_id), seq] for tenant_id, seq in intent.entries])
        self._run(
            None, "INSERT INTO intents (id, entries) VALUES (?, ?)", (str(intent.id), entries)
        )

    def remove(self, intent_id: uuid.UUID) -> None:
        """Remove an intent."""
        self._run(None, "DELETE FROM intents WHERE id = ?", (str(intent_id),))


def _intent(row: Row) -> Intent:
    try:
        entries = tuple((uuid.UUID(tenant_id), int(seq)) for tenant_id, seq in json.loads(row[1]))
        return Intent(uuid.UUID(row[0]), entries)
    except (ValueError, TypeError):
        raise IntegrityError("a stored intent is malformed: it was altered") from None


def _owner(tenant_id: uuid.UUID | None) -> str:
    return "" if tenant_id is None else str(tenant_id)


def _address(ref: KeyRef) -> tuple[str, str, str, int]:
    return str(ref.tenant_id), ref.name, ref.algorithm, ref.version


@functools.lru_cache(_PARSED_ROWS)
def _record(row: Row) -> KeyRecord:
    """Parse a row; equal rows are parsed once, as every operation reads two or three."""
    try:
        return _parsed_record(row)
    except ValueError:
        raise IntegrityError("a stored key record is malformed: it was altered") from None


def _parsed_record(row: Row) -> KeyRecord:
    tenant_id, name, algorithm, version, state, public_key, created, changed, *rest = row
    reason, revision, kek_id, sealed, compromised = rest
    key = KeyVersion(
        KeyRef(uuid.UUID(tenant_id), name, algorithm, version),
        KeyState(state),
        public_key,
        datetime.fromisoformat(created),
        datetime.fromisoformat(changed),
        reason,
        revision,
        optional_moment(compromised),
    )
    return KeyRecord(key, kek_id, sealed)


@functools.lru_cache(_PARSED_ROWS)
def _tenant(row: Row) -> Tenant:
    """Parse a row; equal rows are parsed once."""
    try:
        return _parsed_tenant(row)
    except ValueError:
        raise IntegrityError("a stored tenant is malformed: it was altered") from None


def _parsed_tenant(row: Row) -> Tenant:
    tenant_id, name, plan, status, created, updated = row
    return Tenant(
        uuid.UUID(tenant_id),
        name,
        plan,
        TenantStatus(status),
        datetime.fromisoformat(created),
        datetime.fromisoformat(updated),
    )
