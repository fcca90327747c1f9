# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises of key records."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import evolve

from qpher_core.errors import QpherError, StateConflict
from qpher_core.lifecycle import KeyState
from qpher_core.models import SERVICE, KeyRecord
from qpher_core.protocols import Store, StoreWriter
from qpher_core.testing.records import add_key, add_tenant, moved, new_record, replace


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    """All fields of a record survive storing, times to the microsecond."""
    tenant = add_tenant(store)
    record = add_key(store, new_record(tenant.id, name="schlüssel 🔑"))
    assert store.keys.get(record.key.ref) == record


@pytest.mark.parametrize("state", list(KeyState))
def test_every_state_is_storable(store: Store, state: KeyState) -> None:
    """A record in any state can be stored; a destroyed one has no sealed seed."""
    tenant = add_tenant(store)
    record = add_key(store, new_record(tenant.id, state=state))
    found = store.keys.get(record.key.ref)
    assert found == record
    assert (found.sealed is None) == (state is KeyState.DESTROYED)


def test_a_missing_record_is_none(store: Store) -> None:
    """Reading what does not exist gives None or nothing, not an error."""
    tenant = add_tenant(store)
    assert store.keys.get(new_record(tenant.id).key.ref) is None
    assert store.keys.active(tenant.id, "default", "ML-KEM-768") is None
    assert list(store.keys.find(tenant.id)) == []
    assert store.keys.kek_ids() == frozenset()


def test_active_is_the_one_in_that_state(store: Store) -> None:
    """Only the version in state active counts as active, for its own name and algorithm."""
    tenant = add_tenant(store)
    for version, state in enumerate((KeyState.RETIRED, KeyState.ACTIVE, KeyState.SUSPENDED), 1):
        add_key(store, new_record(tenant.id, version, state=state))
    add_key(store, new_record(tenant.id, 1, name="other"))
    found = store.keys.active(tenant.id, "default", "ML-KEM-768")
    assert found is not None
    assert found.key.version == 2
    assert store.keys.active(tenant.id, "default", "ML-KEM-1024") is None


def test_find_filters_and_orders(store: Store) -> None:
    """Each filter of find limits alone and together; order is name, algorithm, version."""
    tenant = add_tenant(store)
    retired = KeyState.RETIRED
    rows = [
        ("b", "ML-DSA-65", 1, KeyState.ACTIVE),
        ("a", "ML-KEM-768", 10, KeyState.ACTIVE),
        ("a", "ML-KEM-768", 9, retired),
        ("a", "ML-DSA-65", 1, retired),
    ]
    for name, algorithm, version, state in rows:
        record = new_record(tenant.id, version, name=name, algorithm=algorithm, state=state)
        add_key(store, record)

    def found(**filters: Any) -> list[tuple[str, str, int]]:
        keys = [record.key for record in store.keys.find(tenant.id, **filters)]
        return [(key.name, key.algorithm, key.version) for key in keys]

    first, second, third, last = (
        ("a", "ML-DSA-65", 1),
        ("a", "ML-KEM-768", 9),
        ("a", "ML-KEM-768", 10),
        ("b", "ML-DSA-65", 1),
    )
    assert found() == [first, second, third, last]
    assert found(name="a") == [first, second, third]
    assert found(algorithm="ML-DSA-65") == [first, last]
    assert found(state=retired) == [first, second]
    assert found(name="a", algorithm="ML-KEM-768", state=KeyState.ACTIVE) == [third]
    assert found(name="c") == []


def test_versions_count_per_key(store: Store) -> None:
    """The next version is counted per tenant, name and algorithm, from 1."""
    tenant, other = add_tenant(store), add_tenant(store, "other")
    add_key(store, new_record(tenant.id, 1))

    def upcoming(tenant_id: uuid.UUID, name: str, algorithm: str) -> int:
        return store.commit(lambda w: w.keys.next_version(tenant_id, name, algorithm))

    assert upcoming(tenant.id, "default", "ML-KEM-768") == 2
    assert upcoming(tenant.id, "default", "ML-KEM-1024") == 1
    assert upcoming(tenant.id, "other", "ML-KEM-768") == 1
    assert upcoming(other.id, "default", "ML-KEM-768") == 1


def test_versions_are_never_reused(store: Store) -> None:
    """A destroyed version still counts, and an existing version cannot be inserted again."""
    tenant = add_tenant(store)
    first = add_key(store, new_record(tenant.id, 7))
    destroyed = moved(first, KeyState.DESTROYED)
    assert store.commit(lambda w: w.keys.replace(destroyed, revision=1))
    following = store.commit(lambda w: w.keys.next_version(tenant.id, "default", "ML-KEM-768"))
    assert following == 8
    with pytest.raises(QpherError):
        store.commit(lambda w: w.keys.insert(new_record(tenant.id, 7)))
    assert store.keys.get(first.key.ref) == destroyed


def test_a_second_active_version_is_refused(store: Store) -> None:
    """Neither insert nor replace can make a second version active."""
    tenant = add_tenant(store)
    add_key(store, new_record(tenant.id, 1))
    with pytest.raises(StateConflict):
        store.commit(lambda w: w.keys.insert(new_record(tenant.id, 2)))
    second = add_key(store, new_record(tenant.id, 2, state=KeyState.SUSPENDED))
    with pytest.raises(StateConflict):
        store.commit(lambda w: w.keys.replace(moved(second, KeyState.ACTIVE), revision=1))
    assert store.keys.get(second.key.ref) == second


def test_another_key_may_be_active_too(store: Store) -> None:
    """One active version is per tenant, name and algorithm."""
    tenant, other = add_tenant(store), add_tenant(store, "other")
    add_key(store, new_record(tenant.id))
    add_key(store, new_record(tenant.id, name="second"))
    add_key(store, new_record(tenant.id, algorithm="X-Wing"))
    add_key(store, new_record(other.id))
    assert len(store.keys.find(tenant.id, state=KeyState.ACTIVE)) == 3


def test_replace_compares_and_swaps(store: Store) -> None:
    """Replace changes a record at the expected revision alone, and says whether it did."""
    tenant = add_tenant(store)
    record = add_key(store, new_record(tenant.id))
    retired = moved(record, KeyState.RETIRED)
    assert store.commit(lambda w: w.keys.replace(retired, revision=2)) is False
    assert store.keys.get(record.key.ref) == record
    assert store.commit(lambda w: w.keys.replace(retired, revision=1)) is True
    assert store.keys.get(record.key.ref) == retired
    assert store.commit(lambda w: w.keys.replace(retired, revision=1)) is False


def test_replace_of_a_missing_record_is_false(store: Store) -> None:
    """Replace adds nothing."""
    tenant = add_tenant(store)
    missing = new_record(tenant.id)
    assert store.commit(lambda w: w.keys.replace(missing, revision=1)) is False
    assert store.keys.get(missing.key.ref) is None


def test_the_mark_of_a_compromise_is_kept(store: Store) -> None:
    """A record comes back with the time of its compromise, in every state that follows."""
    tenant = add_tenant(store)
    record = add_key(store, new_record(tenant.id))
    for state in (KeyState.COMPROMISED, KeyState.ARCHIVED, KeyState.DESTROYED):
        before, record = record, moved(record, state)
        assert record.key.compromised_at is not None
        changed, revision = record, before.key.revision
        assert replace(store, changed, revision)
        assert store.keys.get(record.key.ref) == record
        assert list(store.keys.find(tenant.id)) == [record]
    marked = evolve(new_record(tenant.id, 2).key, compromised_at=record.key.compromised_at)
    inserted = add_key(store, evolve(new_record(tenant.id, 2), key=marked))
    assert store.keys.get(marked.ref) == inserted


def test_a_commit_for_a_tenant_reads_the_keys_of_the_service(store: Store) -> None:
    """The record that names the key encryption key in use is one of them."""
    tenant = add_tenant(store)
    service = new_record(SERVICE, name="kek", algorithm="AES-256-GCM")
    store.commit(lambda w: w.service_keys.insert(service), tenant_id=service.key.ref.tenant_id)

    def work(writer: StoreWriter) -> None:
        writer.keys.insert(new_record(tenant.id))
        assert writer.service_keys.active(SERVICE, "kek", "AES-256-GCM") == service
        assert writer.keys.active(tenant.id, "default", "ML-KEM-768") is not None
        writer.keys.insert(new_record(tenant.id, name="second"))

    store.commit(work, tenant_id=tenant.id)
    assert len(store.keys.find(tenant.id)) == 2
    assert [*store.service_keys.find(service.key.ref.tenant_id)] == [service]


def test_racing_replacements_win_once(store: Store) -> None:
    """Of eight threads that swap the same revision, one succeeds."""
    tenant = add_tenant(store)
    record = add_key(store, new_record(tenant.id))
    retired = moved(record, KeyState.RETIRED)
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(store.commit, lambda w: w.keys.replace(retired, revision=1))
            for _ in range(8)
        ]
        assert sorted(future.result(timeout=60) for future in futures) == [False] * 7 + [True]


def test_destroyed_keys_need_no_kek(store: Store) -> None:
    """The store names the KEKs of records that still have a sealed seed."""
    tenant = add_tenant(store)
    add_key(store, new_record(tenant.id, 1, kek_id="one", state=KeyState.RETIRED))
    add_key(store, new_record(tenant.id, 2, kek_id="two"))
    add_key(store, new_record(tenant.id, 3, kek_id="three", state=KeyState.DESTROYED))
    assert store.keys.kek_ids() == {"one", "two"}


def test_a_key_needs_its_tenant(store: Store) -> None:
    """A key of a tenant that does not exist is refused."""
    with pytest.raises(QpherError):
        store.commit(lambda w: w.keys.insert(new_record(uuid.uuid4())))


def test_keys_are_read_in_pages(store: Store) -> None:
    """Pages of any size, one after the other, give every record once and in order."""
    tenant = add_tenant(store)
    names = ("a", "b-", "b", "B", "ä", "x" * 255)
    records = [
        new_record(tenant.id, version, name=name, algorithm=algorithm, state=KeyState.RETIRED)
        for name in names
        for algorithm in ("ML-KEM-768", "ML-DSA-65", "mine-1")
        for version in (1, 2, 11)
    ]

    def insert(writer: StoreWriter) -> None:
        for record in records:
            writer.keys.insert(record)

    store.commit(insert)
    ordered = sorted(records, key=lambda r: (r.key.name, r.key.algorithm, r.key.version))
    assert list(store.keys.find(tenant.id)) == ordered
    for size in (1, 7, 100):
        found: list[KeyRecord] = []
        while page := store.keys.find(
            tenant.id, after=found[-1].key.ref if found else None, limit=size
        ):
            assert len(page) <= size
            found += page
        assert found == ordered
    last = ordered[-1].key.ref
    assert list(store.keys.find(tenant.id, name="a", after=last)) == []
    assert [r.key.version for r in store.keys.find(tenant.id, name="a", limit=2)] == [1, 2]
    assert list(store.keys.find(tenant.id, limit=0)) == []
