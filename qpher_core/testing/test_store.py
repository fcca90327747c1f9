# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import evolve

from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.audit.log import verify_chain
from qpher_core.errors import QpherError, StateConflict, StoreUnavailable
from qpher_core.lifecycle import KeyState
from qpher_core.models import Intent, KeyRecord, PolicyDocument, Tenant, TenantStatus
from qpher_core.protocols import Participant, ParticipantWriter, Store, StoreWriter
from qpher_core.testing import open_target
from qpher_core.testing.records import append, moved, new_record, new_tenant

Open = Callable[[], Store]


class Stop(Exception):  # noqa: N818 - what a caller's work may raise
    """Raised inside a transaction."""


def add_tenant(store: Store, name: str = "acme", *, plan: str | None = None) -> Tenant:
    """Store a tenant and return it."""
    tenant = new_tenant(name, plan=plan)
    store.commit(lambda writer: writer.tenants.insert(tenant))
    return tenant


def add_key(store: Store, record: KeyRecord) -> KeyRecord:
    """Store a key record and return it."""
    store.commit(lambda writer: writer.keys.insert(record))
    return record


def _replace(store: Store, record: KeyRecord, revision: int) -> bool:
    return store.commit(lambda w: w.keys.replace(record, revision=revision))


def _set_policy(store: Store, document: PolicyDocument) -> None:
    store.commit(lambda w: w.policies.insert(document))


# --- transactions ------------------------------------------------------------------------------


def test_commit_returns_what_work_returned(store: Store) -> None:
    """A commit hands the value of its work to the caller."""
    assert store.commit(lambda _: "value") == "value"


def test_an_exception_undoes_everything(store: Store) -> None:
    """Work that raises leaves nothing of what it wrote, in any table, and its error comes out."""
    tenant = add_tenant(store)
    kept = add_key(store, new_record(tenant.id))
    other = new_tenant("other")

    def work(writer: StoreWriter) -> None:
        writer.tenants.insert(other)
        writer.tenants.replace(evolve(tenant, plan="free"))
        assert writer.keys.replace(moved(kept, KeyState.RETIRED), revision=1)
        writer.keys.insert(new_record(tenant.id, 2))
        writer.policies.insert(PolicyDocument(tenant.id, 1, "[]"))
        append(writer, tenant.id)
        append(writer, tenant.id)
        raise Stop

    with pytest.raises(Stop):
        store.commit(work)
    assert store.tenants.all() == [tenant]
    assert store.keys.find(tenant.id) == [kept]
    assert store.policies.get(tenant.id) is None
    assert store.audit.head(tenant.id) == (0, EMPTY_HEAD)
    assert list(store.audit.read(tenant.id)) == []


def test_a_failed_commit_leaves_the_next_one_whole(store: Store) -> None:
    """After work that raised, the following commit holds all of its own writes and no others."""
    tenant = add_tenant(store)

    def fail(writer: StoreWriter) -> None:
        append(writer, tenant.id, "lost")
        raise Stop

    with pytest.raises(Stop):
        store.commit(fail)
    store.commit(lambda writer: append(writer, tenant.id, "kept"))
    assert [entry.fields["action"] for entry in store.audit.read(tenant.id)] == ["kept"]


def test_an_interruption_undoes_everything(store: Store) -> None:
    """Work that is interrupted leaves nothing, and the store goes on."""
    tenant = add_tenant(store)

    def work(writer: StoreWriter) -> None:
        append(writer, tenant.id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.commit(work)
    assert store.audit.head(tenant.id)[0] == 0
    store.commit(lambda writer: append(writer, tenant.id))
    assert store.audit.head(tenant.id)[0] == 1


def test_a_transaction_reads_its_own_writes(store: Store) -> None:
    """Every reader of a writer sees what the same transaction wrote."""
    tenant = new_tenant()

    def work(writer: StoreWriter) -> None:
        writer.tenants.insert(tenant)
        assert writer.tenants.get(tenant.id) == tenant
        record = new_record(tenant.id)
        writer.keys.insert(record)
        assert writer.keys.get(record.key.ref) == record
        assert writer.keys.active(tenant.id, "default", "ML-KEM-768") == record
        assert writer.keys.next_version(tenant.id, "default", "ML-KEM-768") == 2
        entry = append(writer, tenant.id)
        assert writer.audit.head(tenant.id) == (1, entry.hash)
        document = PolicyDocument(tenant.id, 1, "[]")
        writer.policies.insert(document)
        assert writer.policies.get(tenant.id) == document

    store.commit(work)
    assert store.tenants.get(tenant.id) == tenant


def test_a_commit_inside_a_commit_is_refused(store: Store) -> None:
    """Work that commits is stopped instead of hanging, nothing of it stays, the store goes on."""
    tenant = add_tenant(store)

    def work(writer: StoreWriter) -> None:
        append(writer, tenant.id)
        store.commit(lambda inner: append(inner, tenant.id))

    with pytest.raises(RuntimeError, match="inside a commit"):
        store.commit(work)
    assert store.audit.head(tenant.id)[0] == 0
    store.commit(lambda w: append(w, tenant.id))
    assert store.audit.head(tenant.id)[0] == 1


def test_work_runs_once_and_one_at_a_time(store: Store) -> None:
    """Concurrent work is serialised, and each runs exactly once."""
    running, most, runs = [0], [0], []

    def work(_: StoreWriter) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        runs.append(threading.get_ident())
        running[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(store.commit, work) for _ in range(64)]:
            future.result(timeout=60)
    assert most == [1]
    assert len(runs) == 64


def test_eight_threads_leave_no_gap(store: Store) -> None:
    """Entries that eight threads append form one chain without a gap."""
    tenant = add_tenant(store)

    def appending(count: int) -> list[int]:
        return [store.commit(lambda w: append(w, tenant.id).seq) for _ in range(count)]

    with ThreadPoolExecutor(8) as pool:
        seqs = [
            s
            for future in [pool.submit(appending, 25) for _ in range(8)]
            for s in future.result(timeout=60)
        ]
    assert sorted(seqs) == list(range(200))
    size, head = store.audit.head(tenant.id)
    assert verify_chain(tenant.id, store.audit.read(tenant.id), size=size, head=head).ok


def test_failures_of_others_do_not_hurt(store: Store) -> None:
    """Of concurrent commits, those that raise are undone and all others stay."""
    tenant = add_tenant(store)

    def one(number: int) -> bool:
        def work(writer: StoreWriter) -> None:
            append(writer, tenant.id, f"job.{number}")
            if number % 3 == 0:
                raise Stop

        try:
            store.commit(work)
        except Stop:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(one, range(90), timeout=60))
    assert outcomes == [number % 3 != 0 for number in range(90)]
    stored = {entry.fields["action"] for entry in store.audit.read(tenant.id)}
    assert stored == {f"job.{n}" for n in range(90) if n % 3}


def test_readers_never_see_half_a_commit(store: Store) -> None:
    """Two entries of one transaction appear together or not at all."""
    tenant = add_tenant(store)
    stop, odd = threading.Event(), []

    def reading() -> None:
        while not stop.is_set():
            size, _ = store.audit.head(tenant.id)
            if size % 2:
                odd.append(size)

    reader = threading.Thread(target=reading)
    reader.start()
    try:
        for _ in range(40):
            store.commit(lambda w: (append(w, tenant.id), append(w, tenant.id)))
    finally:
        stop.set()
        reader.join()
    assert odd == []


# --- key records -------------------------------------------------------------------------------


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
        assert _replace(store, changed, revision)
        assert store.keys.get(record.key.ref) == record
        assert list(store.keys.find(tenant.id)) == [record]
    marked = evolve(new_record(tenant.id, 2).key, compromised_at=record.key.compromised_at)
    inserted = add_key(store, evolve(new_record(tenant.id, 2), key=marked))
    assert store.keys.get(marked.ref) == inserted


def test_a_commit_for_a_tenant_reads_the_keys_of_the_service(store: Store) -> None:
    """The record that names the key encryption key in use is one of them."""
    tenant = add_tenant(store)
    service = new_record(uuid.UUID(int=0), name="kek", algorithm="AES-256-GCM")
    store.commit(lambda w: w.service_keys.insert(service), tenant_id=service.key.ref.tenant_id)

    def work(writer: StoreWriter) -> None:
        writer.keys.insert(new_record(tenant.id))
        assert writer.service_keys.active(uuid.UUID(int=0), "kek", "AES-256-GCM") == service
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


# --- audit entries -----------------------------------------------------------------------------


def test_entries_come_back_in_order(store: Store) -> None:
    """Entries are read unchanged, in order, and the head is that of the last."""
    tenant = add_tenant(store)
    written = [store.commit(lambda w: append(w, tenant.id)) for _ in range(5)]
    assert list(store.audit.read(tenant.id)) == written
    assert store.audit.head(tenant.id) == (5, written[-1].hash)


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [
        (0, None, range(2500)),
        (0, 0, range(0)),
        (0, 1, range(1)),
        (999, 2, range(999, 1001)),
        (1000, 1000, range(1000, 2000)),
        (500, 2000, range(500, 2500)),
        (500, 9999, range(500, 2500)),
        (2499, None, range(2499, 2500)),
        (2500, None, range(0)),
        (9999, 5, range(0)),
    ],
)
def test_reading_in_pages(
    long_store: tuple[Store, Tenant], start: int, limit: int | None, expected: range
) -> None:
    """Any part of a long log can be read, across whatever pages the backend reads in."""
    store, tenant = long_store
    seqs = [entry.seq for entry in store.audit.read(tenant.id, start=start, limit=limit)]
    assert seqs == list(expected)


def test_a_taken_place_in_the_log_is_refused(store: Store) -> None:
    """An entry cannot take the place of another."""
    tenant = add_tenant(store)
    entry = store.commit(lambda w: append(w, tenant.id))
    with pytest.raises(StoreUnavailable):
        store.commit(lambda w: w.audit.append(entry))
    assert list(store.audit.read(tenant.id)) == [entry]
    assert store.audit.head(tenant.id) == (1, entry.hash)


# --- tenants and policies ----------------------------------------------------------------------


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


def test_the_last_policy_revision_counts(store: Store) -> None:
    """The newest revision is the current document, separately for service and tenants."""
    tenant = add_tenant(store)
    assert store.policies.get(None) is None
    for owner in (None, tenant.id):
        for revision in range(1, 12):
            document = PolicyDocument(owner, revision, f'[{{"rule":"plan"}}, "{revision}"]')
            _set_policy(store, document)
            assert store.policies.get(owner) == document


def test_every_policy_revision_stays_readable(store: Store) -> None:
    """Earlier revisions are read by their number; what never was is None."""
    tenant = add_tenant(store)
    for owner in (None, tenant.id):
        documents = [PolicyDocument(owner, number, f"[{number}]") for number in (1, 2, 3)]
        for document in documents:
            _set_policy(store, document)
        assert [store.policies.revision(owner, number) for number in (1, 2, 3)] == documents
        assert store.policies.revision(owner, 0) is None
        assert store.policies.revision(owner, 4) is None
    assert store.policies.revision(add_tenant(store, "other").id, 1) is None


# --- closing, durability, sharing --------------------------------------------------------------


def test_a_closed_store_refuses(store: Store) -> None:
    """A closed store refuses to write and to read, and may be closed again."""
    tenant = add_tenant(store)
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable):
        store.commit(lambda _: None)
    with pytest.raises(StoreUnavailable):
        store.tenants.get(tenant.id)
    with pytest.raises(StoreUnavailable):
        store.keys.find(tenant.id)
    with pytest.raises(StoreUnavailable):
        store.audit.head(tenant.id)
    with pytest.raises(StoreUnavailable):
        list(store.audit.read(tenant.id))
    with pytest.raises(StoreUnavailable):
        store.policies.get(None)


def test_what_was_committed_is_there_later(durable: Open) -> None:
    """A durable store holds everything when it is opened again."""
    store = durable()
    tenant = add_tenant(store, plan="pro")
    record = add_key(store, new_record(tenant.id))
    entry = store.commit(lambda w: append(w, tenant.id))
    document = PolicyDocument(None, 1, "[]")
    store.commit(lambda w: w.policies.insert(document))
    store.close()

    again = durable()
    assert again.tenants.all() == [tenant]
    assert again.keys.find(tenant.id) == [record]
    assert list(again.audit.read(tenant.id)) == [entry]
    assert again.audit.head(tenant.id) == (1, entry.hash)
    assert again.policies.get(None) == document
    again.close()


def test_two_openings_see_each_other_at_once(shared_url: str) -> None:
    """What one opening commits, another reads in its very next call, and builds on."""
    one, two = open_target(shared_url), open_target(shared_url)
    tenant = add_tenant(one)
    assert two.tenants.get(tenant.id) == tenant
    record = add_key(two, new_record(tenant.id))
    for number in range(10):
        writing, reading = (one, two) if number % 2 else (two, one)
        entry = writing.commit(lambda w: append(w, tenant.id))
        assert reading.audit.head(tenant.id) == (number + 1, entry.hash)
        assert reading.keys.get(record.key.ref) == record
        record = moved(record, KeyState.SUSPENDED if number % 2 else KeyState.ACTIVE)
        last = record.key.revision - 1
        assert _replace(writing, record, last)
        assert reading.keys.get(record.key.ref) == record
    one.close()
    two.close()


_CHILD = """
import sys, uuid
from qpher_core.testing import open_target
from qpher_core.testing.records import append
store = open_target(sys.argv[1])
tenant_id = uuid.UUID(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(40):
    store.commit(lambda writer: append(writer, tenant_id))
store.close()
"""


def test_two_processes_share_one_chain(shared_url: str, pytestconfig: pytest.Config) -> None:
    """Entries that two processes and this one append at once form one chain."""
    store = open_target(shared_url)
    tenant = add_tenant(store)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, shared_url, str(tenant.id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=pytestconfig.rootpath,
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    for _ in range(40):
        store.commit(lambda writer: append(writer, tenant.id))
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    size, head = store.audit.head(tenant.id)
    assert size == 120
    assert verify_chain(tenant.id, store.audit.read(tenant.id), size=size, head=head).ok
    store.close()


# --- pages of keys, intents --------------------------------------------------------------------


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


def test_intents_are_kept_until_they_are_removed(participant: Callable[[], Participant]) -> None:
    """Intents are read as they were added, by a later opening too; removing none is nothing."""
    store = participant()
    first = Intent(uuid.uuid4(), ((uuid.uuid4(), 7), (uuid.UUID(int=0), 2**40)))
    second = Intent(uuid.uuid4(), ())
    assert list(store.intents.all()) == []

    def work(writer: ParticipantWriter) -> None:
        writer.intents.add(first)
        assert list(writer.intents.all()) == [first]
        writer.intents.add(second)

    store.commit(work)
    store.close()
    store = participant()
    assert {intent.id: intent for intent in store.intents.all()} == {
        first.id: first,
        second.id: second,
    }
    store.commit(lambda w: w.intents.remove(first.id))
    store.commit(lambda w: w.intents.remove(first.id))
    assert list(store.intents.all()) == [second]

    def fail(writer: ParticipantWriter) -> None:
        writer.intents.remove(second.id)
        raise Stop

    with pytest.raises(Stop):
        store.commit(fail)
    assert list(store.intents.all()) == [second]
    store.close()
