# SPDX-License-Identifier: Apache-2.0
"""Records for tests of stores, written as the engine would write them, without the engine."""

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any

from attrs import evolve

from qpher_core.audit.entry import EntryDraft, build_entry
from qpher_core.lifecycle import KeyState
from qpher_core.models import AuditEntry, KeyRecord, KeyRef, KeyVersion, Tenant, TenantStatus
from qpher_core.protocols import Store, StoreWriter

__all__ = [
    "NOW",
    "Stop",
    "add_key",
    "add_tenant",
    "append",
    "draft",
    "moved",
    "new_record",
    "new_tenant",
    "replace",
]

NOW = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)


class Stop(Exception):  # noqa: N818 - what a caller's work may raise
    """Raised inside a transaction."""


def new_tenant(name: str = "acme", *, plan: str | None = None) -> Tenant:
    """Return a tenant that is not stored."""
    return Tenant(uuid.uuid4(), name, plan, TenantStatus.ACTIVE, NOW, NOW)


def new_record(
    tenant_id: uuid.UUID,
    version: int = 1,
    *,
    name: str = "default",
    algorithm: str = "ML-KEM-768",
    state: KeyState = KeyState.ACTIVE,
    kek_id: str = "kek-1",
) -> KeyRecord:
    """Return a key record that is not stored."""
    ref = KeyRef(tenant_id, name, algorithm, version)
    public_key = hashlib.sha256(str(ref).encode()).digest()
    sealed = None if state is KeyState.DESTROYED else b"sealed " + bytes([version])
    return KeyRecord(KeyVersion(ref, state, public_key, NOW, NOW, "", 1), kek_id, sealed)


def moved(record: KeyRecord, state: KeyState) -> KeyRecord:
    """Return the next revision of a record, in another state."""
    since = record.key.compromised_at or (NOW if state is KeyState.COMPROMISED else None)
    key = evolve(
        record.key,
        state=state,
        reason="moved",
        revision=record.key.revision + 1,
        compromised_at=since,
    )
    sealed = None if state is KeyState.DESTROYED else record.sealed
    return evolve(record, key=key, sealed=sealed)


def add_tenant(store: Store, name: str = "acme", *, plan: str | None = None) -> Tenant:
    """Store a tenant and return it."""
    tenant = new_tenant(name, plan=plan)
    store.commit(lambda writer: writer.tenants.insert(tenant))
    return tenant


def add_key(store: Store, record: KeyRecord) -> KeyRecord:
    """Store a key record and return it."""
    store.commit(lambda writer: writer.keys.insert(record))
    return record


def replace(store: Store, record: KeyRecord, revision: int) -> bool:
    """Replace a key record that is at a revision; return whether it was."""
    return store.commit(lambda writer: writer.keys.replace(record, revision=revision))


def draft(action: str = "kem.encrypt", **changes: Any) -> EntryDraft:
    """Return what an entry records."""
    made = EntryDraft("tester", action, None, "success", "", str(uuid.uuid4()), None, None)
    return evolve(made, **changes)


def append(writer: StoreWriter, tenant_id: uuid.UUID, action: str = "kem.encrypt") -> AuditEntry:
    """Append the next entry of a tenant's chain inside a transaction."""
    seq, prev_hash = writer.audit.head(tenant_id)
    entry = build_entry(draft(action), tenant_id=tenant_id, seq=seq, prev_hash=prev_hash, time=NOW)
    writer.audit.append(entry)
    return entry
