# SPDX-License-Identifier: Apache-2.0
"""Reading a log by filter and by page."""

from datetime import UTC, datetime, timedelta

import pytest

from qpher_core import EntryFilter, NotFound, ValidationError
from qpher_core.service import Qpher
from qpher_core.session import Session


@pytest.fixture
def acme(service: Qpher, session: Session) -> Session:
    """Return a session with two actors' work, one refusal included: 13 entries."""
    tenant = session._context.tenant_id
    for actor in ("alice", "bob"):
        other = service.session(tenant, actor=actor)
        other.keys.generate("ML-KEM-768", name=actor)
        for _ in range(4):
            other.kem.encapsulate(name=actor)
    with pytest.raises(NotFound):
        session.kem.encapsulate(name="nobody")
    return session


def _seqs(session: Session, **where: object) -> list[int]:
    return [entry.seq for entry in session.audit.entries(where=EntryFilter(**where))]


def test_filters_choose_by_each_member(acme: Session) -> None:
    """Actor, action, outcome and key each select their entries, and together the common ones."""
    alice = next(acme.audit.entries(start=1)).fields["actor"]  # an API key, where it is remote
    assert _seqs(acme, actor=alice) == [1, 2, 3, 4, 5]
    assert _seqs(acme, action="keys.generate") == [1, 6]
    assert _seqs(acme, outcome="failed") == [11]
    assert _seqs(acme, name="bob") == [6, 7, 8, 9, 10]
    assert _seqs(acme, algorithm="ML-KEM-768", version=1) == list(range(1, 11))
    assert _seqs(acme, actor=alice, action="kem.encapsulate") == [2, 3, 4, 5]
    assert _seqs(acme, actor=alice, name="bob") == []


def test_filters_choose_by_time(acme: Session) -> None:
    """The first moment is included, the last is not, in any time zone."""
    entries = list(acme.audit.entries())
    third = datetime.fromisoformat(entries[3].fields["time"])
    assert min(_seqs(acme, since=third)) <= 3
    assert all(seq >= 3 for seq in _seqs(acme, since=third + timedelta(microseconds=1))[1:])
    assert 3 not in _seqs(acme, until=third)
    assert _seqs(acme, since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert len(_seqs(acme, until=datetime.now(UTC) + timedelta(hours=1))) == len(entries)


def test_a_moment_needs_a_time_zone() -> None:
    """A moment without one could be any of 24."""
    with pytest.raises(ValidationError):
        EntryFilter(since=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 100])
def test_pages_have_every_entry_once(acme: Session, limit: int) -> None:
    """Following the cursors gives all entries that match, in order, without gap or overlap."""
    where = EntryFilter(action="kem.encapsulate", outcome="success")
    seqs: list[int] = []
    cursor: int | None = 0
    while cursor is not None:
        page = acme.audit.page(cursor=cursor, limit=limit, where=where)
        assert len(page.entries) <= limit
        seqs += [entry.seq for entry in page.entries]
        cursor = page.cursor
    assert seqs == [2, 3, 4, 5, 7, 8, 9, 10]


@pytest.mark.parametrize("limit", [0, -1, 1001, "1", True])
def test_a_page_has_a_limit(session: Session, limit: object) -> None:
    """No page is empty by request, or too long."""
    with pytest.raises(ValidationError):
        session.audit.page(limit=limit)
