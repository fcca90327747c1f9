# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises of tenants, and of what separates them."""

import uuid

import pytest
from attrs import evolve

from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.errors import StateConflict
from qpher_core.lifecycle import KeyState
from qpher_core.models import PolicyDocument, TenantStatus
from qpher_core.protocols import Store, StoreWriter
from qpher_core.testing.records import add_key, add_tenant, append, moved, new_record


def test_tenants_are_found_by_id_and_name(store: Store) -> None:
    """Tenants are found by id and exact name, and listed by name."""
    second, first = add_tenant(store, "zeta"), add_tenant(store, "acme", plan="pro")
    assert store.tenants.get(first.id) == first
    assert store.tenants.by_name("zeta") == second
    assert store.tenants.by_name("Zeta") is None
    assert store.tenants.get(uuid.uuid4()) is None
    assert store.tenants.all() == [first, second]


def test_names_compare_code_point_by_code_point(store: Store) -> None:
    """Names that differ in any code point are different tenants."""
    for name in ("acme", "ACME", "äcme", "a\u0308cme"):
        add_tenant(store, name)
    assert len(store.tenants.all()) == 4


def test_a_taken_tenant_name_is_refused(store: Store) -> None:
    """Two tenants cannot have the same name."""
    tenant = add_tenant(store)
    with pytest.raises(StateConflict, match="exists"):
        add_tenant(store)
    assert store.tenants.all() == [tenant]


def test_a_tenant_can_be_changed(store: Store) -> None:
    """Plan, status and time of a tenant can be replaced."""
    tenant = add_tenant(store)
    changed = evolve(tenant, plan="free", status=TenantStatus.SUSPENDED)
    store.commit(lambda w: w.tenants.replace(changed))
    assert store.tenants.get(tenant.id) == changed
    assert store.tenants.by_name("acme") == changed


def test_every_method_is_scoped_to_its_tenant(store: Store) -> None:
    """What one tenant has, no method shows, counts, changes or numbers for another."""
    tenant, other = add_tenant(store), add_tenant(store, "other")
    record = add_key(store, new_record(tenant.id))
    entry = store.commit(lambda w: append(w, tenant.id))
    store.commit(lambda w: w.policies.insert(PolicyDocument(tenant.id, 1, "[]")))

    stranger = evolve(record.key.ref, tenant_id=other.id)
    assert store.keys.get(stranger) is None
    assert store.keys.active(other.id, "default", "ML-KEM-768") is None
    assert list(store.keys.find(other.id)) == []
    assert store.audit.head(other.id) == (0, EMPTY_HEAD)
    assert list(store.audit.read(other.id)) == []
    assert store.policies.get(other.id) is None
    assert store.policies.get(None) is None

    moved_over = evolve(
        moved(record, KeyState.RETIRED), key=evolve(record.key, ref=stranger, revision=2)
    )

    def work(writer: StoreWriter) -> None:
        assert writer.keys.get(stranger) is None
        assert writer.keys.active(other.id, "default", "ML-KEM-768") is None
        assert writer.keys.next_version(other.id, "default", "ML-KEM-768") == 1
        assert writer.keys.replace(moved_over, revision=1) is False
        assert writer.audit.head(other.id) == (0, EMPTY_HEAD)
        assert append(writer, other.id).seq == 0

    store.commit(work)
    assert store.keys.find(tenant.id) == [record]
    assert list(store.audit.read(tenant.id)) == [entry]
