# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises of API keys and of idempotency records."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from qpher_core.errors import QpherError, StateConflict, StoreUnavailable
from qpher_core.models import ApiKey, ApiKeyRecord, IdempotencyRecord, Tenant
from qpher_core.protocols import Store, StoreWriter
from qpher_core.testing.records import NOW, new_tenant

__all__ = [
    "tenant",
    "test_a_key_id_and_a_version_exist_once",
    "test_a_record_replaces_the_one_before",
    "test_a_tenant_has_its_own_keys_and_records",
    "test_access_is_there_later",
    "test_an_api_key_comes_back_as_it_was",
    "test_an_api_key_needs_its_tenant",
    "test_an_exception_undoes_access",
    "test_every_key_id_is_safe",
    "test_expiry_revocation_and_use_can_be_changed",
    "test_old_records_are_forgotten",
    "test_replacing_a_missing_key_adds_none",
    "test_transactions_read_their_own_access",
]


def new_api_key(tenant: Tenant, key_id: str = "Abc123", **changes: Any) -> ApiKeyRecord:
    """Return an API key that is not stored."""
    scopes = frozenset({"kem", "signatures"})
    key = ApiKey(key_id, tenant.id, "default", scopes, 1, NOW)
    return ApiKeyRecord(evolve(key, **changes), bytes(range(32)))


def new_call(tenant: Tenant, number: int = 1, **changes: Any) -> IdempotencyRecord:
    """Return an idempotency record that is not stored."""
    key_hash = number.to_bytes(32, "big")
    made = IdempotencyRecord(tenant.id, key_hash, bytes(32), uuid.UUID(int=7), NOW, None)
    return evolve(made, **changes)


@pytest.fixture
def tenant(store: Store) -> Tenant:
    """Return a stored tenant."""
    made = new_tenant()
    store.commit(lambda writer: writer.tenants.insert(made))
    return made


def add(store: Store, *records: ApiKeyRecord | IdempotencyRecord) -> None:
    """Store API keys and idempotency records."""

    def work(writer: StoreWriter) -> None:
        for record in records:
            if isinstance(record, ApiKeyRecord):
                writer.api_keys.insert(record)
            else:
                writer.idempotency.put(record)

    store.commit(work)


def test_an_api_key_comes_back_as_it_was(store: Store, tenant: Tenant) -> None:
    """Every member of a record survives, and a missing one is None."""
    plain = new_api_key(tenant)
    full = new_api_key(
        tenant,
        "Zz9",
        name="with a nāme",
        scopes=frozenset(),
        version=7,
        expires_at=NOW + timedelta(days=1),
        revoked_at=NOW,
        last_used_at=NOW - timedelta(microseconds=1),
    )
    add(store, plain, full)
    assert store.api_keys.get("Abc123") == plain
    assert store.api_keys.get("Zz9") == full
    assert store.api_keys.get("zz9") is None
    assert store.api_keys.find(tenant.id) == [plain, full]


def test_every_key_id_is_safe(store: Store, tenant: Tenant) -> None:
    """Whatever stands for an id is no more than an id that does not exist."""
    add(store, new_api_key(tenant))
    for key_id in ("", "..", "../x", "%", "' OR 1=1 --", "*", "a" * 300, "x/Abc123", "ABC123"):
        assert store.api_keys.get(key_id) is None


def test_expiry_revocation_and_use_can_be_changed(store: Store, tenant: Tenant) -> None:
    """A replaced API key has its new times at once."""
    record = new_api_key(tenant)
    add(store, record)
    later = NOW + timedelta(seconds=1)
    changes: list[dict[str, Any]] = [
        {"expires_at": later},
        {"last_used_at": later},
        {"revoked_at": later},
    ]
    for change in changes:
        record = evolve(record, key=evolve(record.key, **change))
        changed = record
        store.commit(lambda writer, changed=changed: writer.api_keys.replace(changed))  # type: ignore[misc]
        assert store.api_keys.get(record.key.id) == record


def test_replacing_a_missing_key_adds_none(store: Store, tenant: Tenant) -> None:
    """What is not there cannot be replaced."""
    store.commit(lambda writer: writer.api_keys.replace(new_api_key(tenant)))
    assert store.api_keys.get("Abc123") is None
    assert store.api_keys.find(tenant.id) == []


def test_a_key_id_and_a_version_exist_once(store: Store, tenant: Tenant) -> None:
    """Neither an id nor a version of a name is given twice, and the first one stays."""
    record = new_api_key(tenant)
    add(store, record)
    for other in (new_api_key(tenant, version=2), new_api_key(tenant, "Other1")):
        with pytest.raises(StateConflict):
            add(store, other)
    assert store.api_keys.find(tenant.id) == [record]


def test_an_api_key_needs_its_tenant(store: Store) -> None:
    """No API key is stored for a tenant that does not exist."""
    with pytest.raises(StoreUnavailable):
        add(store, new_api_key(new_tenant()))


def test_a_tenant_has_its_own_keys_and_records(store: Store, tenant: Tenant) -> None:
    """What one tenant has is not another's, also under the same idempotency key."""
    other = new_tenant("other")
    store.commit(lambda writer: writer.tenants.insert(other))
    mine, call = new_api_key(tenant), new_call(tenant)
    theirs, other_call = new_api_key(other, "Other1"), new_call(other, fingerprint=b"\1" * 32)
    add(store, mine, theirs, call, other_call)
    assert store.api_keys.find(other.id) == [theirs]
    assert store.idempotency.get(tenant.id, call.key_hash) == call
    assert store.idempotency.get(other.id, call.key_hash) == other_call
    store.commit(lambda writer: writer.idempotency.forget(other.id, NOW + timedelta(days=1)))
    assert store.idempotency.get(tenant.id, call.key_hash) == call


def test_a_record_replaces_the_one_before(store: Store, tenant: Tenant) -> None:
    """The answer of a call takes the place of its reservation."""
    call = new_call(tenant)
    assert store.idempotency.get(tenant.id, call.key_hash) is None
    add(store, call)
    done = evolve(call, answer=b"\x00sealed\xff")
    add(store, done)
    assert store.idempotency.get(tenant.id, call.key_hash) == done


def test_old_records_are_forgotten(store: Store, tenant: Tenant) -> None:
    """Records from before a moment go, those of that moment and later stay."""
    calls = [
        new_call(tenant, number, created_at=NOW + timedelta(seconds=number))
        for number in range(600)
    ]
    add(store, *calls)
    limit = NOW + timedelta(seconds=590)
    store.commit(lambda writer: writer.idempotency.forget(tenant.id, limit))
    found = [store.idempotency.get(tenant.id, call.key_hash) for call in calls]
    assert found == [None] * 590 + calls[590:]


def test_transactions_read_their_own_access(store: Store) -> None:
    """Readers of a writer see what the same transaction wrote."""
    tenant = new_tenant()
    record, call = new_api_key(tenant), new_call(tenant)

    def work(writer: StoreWriter) -> None:
        writer.tenants.insert(tenant)
        writer.api_keys.insert(record)
        assert writer.api_keys.get("Abc123") == record
        assert writer.api_keys.find(tenant.id) == [record]
        writer.idempotency.put(call)
        assert writer.idempotency.get(tenant.id, call.key_hash) == call
        writer.idempotency.forget(tenant.id, NOW + timedelta(days=1))
        assert writer.idempotency.get(tenant.id, call.key_hash) is None

    store.commit(work)


def test_an_exception_undoes_access(store: Store, tenant: Tenant) -> None:
    """Work that raises leaves neither keys nor records, and brings back what it removed."""
    record, call = new_api_key(tenant), new_call(tenant)
    add(store, record, call)

    def work(writer: StoreWriter) -> None:
        writer.api_keys.insert(new_api_key(tenant, "Other1", version=2))
        writer.api_keys.replace(evolve(record, key=evolve(record.key, revoked_at=NOW)))
        writer.idempotency.put(new_call(tenant, 2))
        writer.idempotency.forget(tenant.id, NOW + timedelta(days=1))
        raise QpherError("stop")

    with pytest.raises(QpherError, match="stop"):
        store.commit(work)
    assert store.api_keys.find(tenant.id) == [record]
    assert store.idempotency.get(tenant.id, call.key_hash) == call
    assert store.idempotency.get(tenant.id, new_call(tenant, 2).key_hash) is None


def test_access_is_there_later(durable: Callable[[], Store]) -> None:
    """What was committed is there when the store is opened again."""
    store, tenant = durable(), new_tenant()
    store.commit(lambda writer: writer.tenants.insert(tenant))
    record, call = new_api_key(tenant), new_call(tenant, answer=b"answer")
    add(store, record, call)
    store.close()
    store = durable()
    try:
        assert store.api_keys.get("Abc123") == record
        assert store.idempotency.get(tenant.id, call.key_hash) == call
    finally:
        store.close()
