# SPDX-License-Identifier: Apache-2.0
"""Reading a log at the moment when its beginning is moved out, on every backend."""

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qpher_backends.sql.audit
import qpher_core
from qpher_core import EntryFilter, NotFound, Segment, StateConflict
from qpher_core.service import Qpher
from qpher_core.session import Session

Interrupt = Callable[[str, str], None]

KEM = "ML-KEM-768"


@pytest.fixture
def tenant(service: Qpher) -> qpher_core.Tenant:
    """Return a tenant that nothing else uses, whose log has two anchors and an entry more."""
    tenant = service.tenants.create(f"moved-{uuid.uuid4().hex}")
    session = service.session(tenant.id, actor="x")
    session.keys.generate(KEM)
    for anchored in (True, True, False):
        for _ in range(3):
            session.kem.encapsulate()
        if anchored:
            service.anchors.publish(tenant)
    return tenant


@pytest.fixture
def session(service: Qpher, tenant: qpher_core.Tenant) -> Session:
    """Return a session of the tenant."""
    return service.session(tenant.id, actor="x")


@pytest.fixture
def moved(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Interrupt:
    """Return what has all entries moved out when a part of the store has answered once."""

    def interrupt(part: str, method: str) -> None:
        records = getattr(service._store, part)
        answer = getattr(records, method)
        pending: list[Callable[[], Segment]] = [
            lambda: service.audit.move_out(tmp_path / "others", tenant.id)
        ]

        def answered(*args: Any, **how: Any) -> Any:
            found = answer(*args, **how)
            if pending:
                pending.pop()()
            return found

        monkeypatch.setattr(records, method, answered)

    return interrupt


def test_verification_begins_anew(
    service: Qpher, tenant: qpher_core.Tenant, moved: Interrupt
) -> None:
    """What is gone was not removed by a forger: the log verifies from where it begins now."""
    moved("anchors", "read")
    assert service.audit.verify(tenant.id).ok


def test_an_anchor_is_made_all_the_same(
    service: Qpher, tenant: qpher_core.Tenant, moved: Interrupt
) -> None:
    """The last anchor is before the base by now; there is a later one to go on from."""
    moved("anchors", "latest")
    assert service.anchors.publish(tenant).size == service._store.audit.state(tenant.id).size


def test_an_anchor_is_compared_or_not_found(
    service: Qpher, tenant: qpher_core.Tenant, moved: Interrupt
) -> None:
    """An anchor from before the base is not called forked."""
    kept = next(service.anchors.list(tenant))
    moved("audit", "state")
    with pytest.raises(NotFound, match="moved out"):
        service.anchors.check(kept.note, tenant)


def test_a_proof_is_not_found(session: Session, moved: Interrupt) -> None:
    """An entry that is moved out while it is proved is said to be."""
    receipt = next(session.audit.entries(start=1)).receipt
    moved("anchors", "covering")
    with pytest.raises(NotFound, match="moved out"):
        session.audit.proof(receipt)


@pytest.mark.parametrize("where", [None, EntryFilter(action="kem.encapsulate")], ids=str)
def test_an_export_ends(
    service: Qpher,
    tenant: qpher_core.Tenant,
    moved: Interrupt,
    tmp_path: Path,
    where: EntryFilter | None,
) -> None:
    """It is whole or not at all, and so is one of chosen entries."""
    moved("anchors", "statements")
    with pytest.raises(StateConflict, match="moved out"):
        list(service.audit.lines(tenant.id, where=where))
    service.audit.export(tmp_path / "export", tenant.id, where=where)


@pytest.mark.parametrize(("part", "method"), [("anchors", "read"), ("anchors", "statements")])
def test_who_moves_the_same_entries_is_told(
    service: Qpher,
    tenant: qpher_core.Tenant,
    moved: Interrupt,
    tmp_path: Path,
    part: str,
    method: str,
) -> None:
    """Of two that move a log out, the one that comes second leaves no file and finds no forgery."""
    moved(part, method)
    with pytest.raises(StateConflict):
        service.audit.move_out(tmp_path / "mine", tenant.id, until=7)
    assert not list((tmp_path / "mine").glob("*"))
    assert service.audit.verify(tenant.id).ok


@pytest.mark.parametrize("where", [None, EntryFilter(action="kem.encapsulate")], ids=str)
def test_a_page_says_that_its_beginning_was_moved_out(
    service: Qpher,
    tenant: qpher_core.Tenant,
    session: Session,
    tmp_path: Path,
    where: EntryFilter | None,
) -> None:
    """Who reads page after page gets no gap instead of entries that went between two of them."""
    cursor = session.audit.page(limit=3, where=where).cursor
    assert cursor is not None
    moved = service.audit.move_out(tmp_path, tenant.id)
    with pytest.raises(NotFound, match="moved out"):
        session.audit.page(cursor=cursor, limit=3, where=where)
    assert session.audit.page(cursor=moved.end).entries[0].seq == moved.end
    assert next(session.audit.entries(start=cursor)).seq == moved.end
    assert session.audit.page(cursor=1000, where=where).entries == ()


def test_entries_that_were_to_follow_are_not_passed_over(
    service: Qpher,
    tenant: qpher_core.Tenant,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever reads on behind a gap is told of it; where the store still has them they come."""
    monkeypatch.setattr(qpher_backends.sql.audit, "_PAGE", 2)
    entries = session.audit.entries()
    seen = [next(entries).seq]
    service.audit.move_out(tmp_path / "others", tenant.id)
    with contextlib.suppress(StateConflict):
        seen += [entry.seq for entry in entries]
    assert seen == list(range(len(seen)))
