# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises of transactions."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve

from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.audit.log import verify_chain
from qpher_core.lifecycle import KeyState
from qpher_core.models import PolicyDocument
from qpher_core.protocols import Store, StoreWriter
from qpher_core.testing.records import (
    Stop,
    add_key,
    add_tenant,
    append,
    moved,
    new_record,
    new_tenant,
)


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
