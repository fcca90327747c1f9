# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises about entries that are moved out of it."""

import hashlib
import uuid
from collections.abc import Callable, Sequence

import pytest

from qpher_core.audit.records import LogBase, StoredAnchor
from qpher_core.audit.tree import Subtree, consistency_path, inclusion_path, root_at, subtrees
from qpher_core.errors import IntegrityError, StateConflict
from qpher_core.models import Tenant
from qpher_core.protocols import Store, StoreWriter
from qpher_core.testing.records import NOW, append, new_tenant

__all__ = [
    "test_a_log_goes_on_from_its_base",
    "test_a_log_that_is_all_moved_out_goes_on",
    "test_moved_entries_stay_away",
    "test_only_anchored_entries_are_moved_out",
    "test_what_raises_moves_nothing_out",
]


def fill(store: Store, entries: int, *anchors: int) -> Tenant:
    """Store a tenant with entries, and anchors of some sizes."""
    tenant = new_tenant(f"tenant-{uuid.uuid4()}")

    def work(writer: StoreWriter) -> None:
        writer.tenants.insert(tenant)
        for _ in range(entries):
            append(writer, tenant.id)
        for size in anchors:
            writer.anchors.insert(StoredAnchor(tenant.id, size, NOW, f"note {size}\n"))

    store.commit(work)
    return tenant


def base_at(store: Store, tenant_id: uuid.UUID, size: int) -> LogBase:
    """Return the state of a log at one size."""
    (last,) = store.audit.read(tenant_id, start=size - 1, limit=1)
    peaks = b"".join(store.audit.subtrees(tenant_id, list(subtrees(0, size))))
    segment = hashlib.sha256(b"the file").digest()
    return LogBase(size, last.hash, peaks, b'{"uses":["kept"]}', segment)


def move_out(store: Store, tenant_id: uuid.UUID, base: LogBase, *, after: int = 0) -> None:
    """Move entries out."""
    store.commit(lambda writer: writer.audit.move_out(base, tenant_id, after=after))


def test_a_log_goes_on_from_its_base(store: Store) -> None:
    """What is moved out is gone; state, appending, roots and proofs of the rest stay the same."""
    tenant, other = fill(store, 30, 13, 30), fill(store, 3, 3)

    def fetch(wanted: Sequence[Subtree]) -> list[bytes]:
        return store.audit.subtrees(tenant.id, wanted)

    before = store.audit.state(tenant.id)
    paths = {place: inclusion_path(place, 30, fetch) for place in range(13, 30)}
    steps = {size: consistency_path(size, 30, fetch) for size in range(13, 31)}
    roots = {size: root_at(size, fetch) for size in range(13, 31)}
    assert store.audit.base(tenant.id) is None
    base = base_at(store, tenant.id, 13)
    move_out(store, tenant.id, base)
    assert store.audit.base(tenant.id) == base
    assert [entry.seq for entry in store.audit.read(tenant.id)] == list(range(13, 30))
    assert [entry.seq for entry in store.audit.read(tenant.id, start=20, limit=2)] == [20, 21]
    assert store.audit.state(tenant.id) == before
    assert {place: inclusion_path(place, 30, fetch) for place in paths} == paths
    assert {size: consistency_path(size, 30, fetch) for size in steps} == steps
    assert {size: root_at(size, fetch) for size in roots} == roots
    with pytest.raises(IntegrityError):
        fetch([(0, 5)])
    assert tenant.id not in store.anchors.logs()
    assert store.commit(lambda writer: append(writer, tenant.id)).seq == 30
    assert tenant.id in store.anchors.logs()
    assert len(list(store.audit.read(other.id))) == 3


def test_only_anchored_entries_are_moved_out(store: Store) -> None:
    """A base that no anchor has, or that another moved meanwhile, is refused: nothing changes."""
    tenant = fill(store, 10, 4, 8)
    four, eight = base_at(store, tenant.id, 4), base_at(store, tenant.id, 8)
    for base, after in ((base_at(store, tenant.id, 5), 0), (four, 3)):
        with pytest.raises(StateConflict):
            move_out(store, tenant.id, base, after=after)
    assert store.audit.base(tenant.id) is None
    move_out(store, tenant.id, four)
    with pytest.raises(StateConflict):
        move_out(store, tenant.id, eight, after=0)
    assert [entry.seq for entry in store.audit.read(tenant.id)] == list(range(4, 10))
    move_out(store, tenant.id, eight, after=4)
    assert [entry.seq for entry in store.audit.read(tenant.id)] == [8, 9]


def test_a_log_that_is_all_moved_out_goes_on(store: Store) -> None:
    """A log whose every entry was moved out keeps its size and head, and grows."""
    tenant = fill(store, 7, 7)
    before = store.audit.state(tenant.id)
    move_out(store, tenant.id, base_at(store, tenant.id, 7))
    assert store.audit.state(tenant.id) == before
    assert list(store.audit.read(tenant.id)) == []
    entry = store.commit(lambda writer: append(writer, tenant.id))
    assert (entry.seq, entry.fields["prev_hash"]) == (7, before.head.hex())
    assert list(store.audit.read(tenant.id)) == [entry]
    root_at(8, lambda wanted: store.audit.subtrees(tenant.id, wanted))


def test_what_raises_moves_nothing_out(store: Store) -> None:
    """Work that raises after moving entries out leaves them where they were."""
    tenant = fill(store, 5, 5)
    base = base_at(store, tenant.id, 5)

    def work(writer: StoreWriter) -> None:
        writer.audit.move_out(base, tenant.id, after=0)
        append(writer, tenant.id)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.commit(work)
    assert store.audit.base(tenant.id) is None
    assert len(list(store.audit.read(tenant.id))) == 5
    assert store.commit(lambda writer: append(writer, tenant.id)).seq == 5


def test_moved_entries_stay_away(durable: Callable[[], Store]) -> None:
    """Where a log begins is there later, when the store is opened again."""
    store = durable()
    tenant = fill(store, 6, 3)
    base = base_at(store, tenant.id, 3)
    move_out(store, tenant.id, base)
    store.close()
    again = durable()
    assert again.audit.base(tenant.id) == base
    assert [entry.seq for entry in again.audit.read(tenant.id)] == [3, 4, 5]
    assert again.commit(lambda writer: append(writer, tenant.id)).seq == 6
    again.close()
