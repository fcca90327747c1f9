# SPDX-License-Identifier: Apache-2.0
"""Inclusion proofs on every store, with and without what earlier proofs left in memory."""

import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

import qpher_core
from qpher_core import Receipt, StoredAnchor, VerifierKey, verify_proof
from qpher_core.audit.inclusion import Inclusion
from qpher_core.audit.proof import LogProof
from qpher_core.audit.tree import Subtree, inclusion_path
from qpher_core.protocols import StoreWriter
from qpher_core.service import Qpher
from tests.records import append

#: On both sides of the bounds of subtrees of 256 and 512 entries, and in the incomplete ones.
PLACES = (1, 2, 255, 256, 400, 511, 512, 599, 600)


@pytest.fixture
def tenant(service: Qpher) -> qpher_core.Tenant:
    """Return a tenant that nothing else uses; its log has one entry."""
    return service.tenants.create(f"proved-{uuid.uuid4().hex}")


def _grow(service: Qpher, tenant: qpher_core.Tenant, size: int) -> StoredAnchor:
    """Let a log grow to a size, and anchor it."""

    def work(writer: StoreWriter) -> None:
        for _ in range(size - writer.audit.head(tenant.id)[0]):
            append(writer, tenant.id)

    service._store.commit(work, tenant_id=tenant.id)
    return service.anchors.publish(tenant)


def _receipts(service: Qpher, tenant: qpher_core.Tenant, start: int = 0) -> dict[int, Receipt]:
    entries = service._store.audit.read(tenant.id, start=start)
    return {entry.seq: entry.receipt for entry in entries if entry.seq in PLACES}


class _Reader:
    """Reads stored hashes, and remembers of which subtrees."""

    def __init__(self, service: Qpher, tenant: qpher_core.Tenant) -> None:
        self._service = service
        self._tenant = tenant
        self.wanted: list[Subtree] = []

    def __call__(self, wanted: Sequence[Subtree]) -> list[bytes]:
        self.wanted += wanted
        return self._service._store.audit.subtrees(self._tenant.id, wanted)


def test_proofs_stay_the_same_once_hashes_are_kept(
    service: Qpher, tenant: qpher_core.Tenant
) -> None:
    """The first proof of a place, a later one and the path that the store alone gives are equal."""
    anchor = _grow(service, tenant, 601)
    session = service.session(tenant.id, actor="x")
    keys = list(map(VerifierKey.parse, service.anchors.keys()))
    receipts = _receipts(service, tenant)
    assert sorted(receipts) == sorted(PLACES)
    first = {place: session.audit.proof(receipt) for place, receipt in receipts.items()}
    for place, receipt in receipts.items():
        assert session.audit.proof(receipt) == first[place]
        verify_proof(first[place], session.audit.entry(receipt), None, keys)
        path = inclusion_path(place, anchor.size, _Reader(service, tenant))
        assert LogProof.parse(first[place]).path == tuple(path)


def test_large_subtrees_are_read_once(service: Qpher, tenant: qpher_core.Tenant) -> None:
    """A second proof reads only what is near its entry; of another anchor, its new peaks too."""
    anchor = _grow(service, tenant, 601)
    inclusion, read = Inclusion(), _Reader(service, tenant)
    (entry,) = service._store.audit.read(tenant.id, start=100, limit=1)
    first = inclusion.proof(entry, anchor, read)
    assert {level for level, _ in read.wanted} == set(range(10))
    read.wanted.clear()
    assert inclusion.proof(entry, anchor, read) == first
    assert {level for level, _ in read.wanted} == set(range(8))


def test_proofs_stay_the_same_once_the_beginning_was_moved_out(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path
) -> None:
    """What was kept of the entries that are gone serves as before; so does the base alone."""
    first = _grow(service, tenant, 300)
    anchor = _grow(service, tenant, 601)
    session = service.session(tenant.id, actor="x")
    receipts = _receipts(service, tenant, start=first.size)
    before = {place: session.audit.proof(receipt) for place, receipt in receipts.items()}
    service.audit.move_out(tmp_path, tenant.id, until=first.size)
    assert {place: session.audit.proof(receipt) for place, receipt in receipts.items()} == before
    for entry in map(session.audit.entry, receipts.values()):
        inclusion, read = Inclusion(), _Reader(service, tenant)
        assert str(inclusion.proof(entry, anchor, read)) == before[entry.seq]
    assert service.audit.verify(tenant.id).ok


def test_what_was_undone_leaves_nothing(service: Qpher, tenant: qpher_core.Tenant) -> None:
    """Entries of a transaction that was undone are in no proof of those that took their places."""
    session = service.session(tenant.id, actor="x")
    _grow(service, tenant, 300)
    (early,) = session.audit.entries(start=255, limit=1)
    session.audit.proof(early.receipt)

    def work(writer: StoreWriter) -> None:
        for _ in range(300):
            append(writer, tenant.id)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        service._store.commit(work, tenant_id=tenant.id)
    _grow(service, tenant, 601)
    keys = list(map(VerifierKey.parse, service.anchors.keys()))
    for receipt in _receipts(service, tenant).values():
        entry = session.audit.entry(receipt)
        verify_proof(session.audit.proof(receipt), entry, None, keys)
    assert service.audit.verify(tenant.id).ok
