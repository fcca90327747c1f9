# SPDX-License-Identifier: Apache-2.0
"""Rows of a moment ago: they save queries, and nothing is ever released on rows that changed."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import qpher_core
from qpher_backends.sqlite import store as sqlite_store
from qpher_core.errors import AuthenticationError, PermissionDenied, StateConflict

DSA = "ML-DSA-44"


class World:
    """A service on a database whose statements are counted, and another on the same database."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        self.path = path
        url = f"sqlite:///{path}"
        connect = sqlite_store.SQLiteStore._connect

        def counting(store: sqlite_store.SQLiteStore) -> sqlite3.Connection:
            connection = connect(store)
            connection.set_trace_callback(self.statements.append)
            return connection

        monkeypatch.setattr(sqlite_store.SQLiteStore, "_connect", counting)
        self.kms = qpher_core.open(url)
        self.kms.tenants.create("acme")
        self.session = self.kms.session("acme", actor="here")
        self.session.keys.generate(DSA)
        self.other = qpher_core.open(url)
        self.elsewhere = self.other.session("acme", actor="there")
        self.warm()

    def warm(self) -> None:
        """Use the key until nothing needs to be read any more."""
        for _ in range(4):
            self.session.signatures.sign(b"m", algorithm=DSA)
        self.statements.clear()

    def entries(self) -> list[dict[str, object]]:
        """Return the fields of all entries."""
        tenant = str(self.kms.tenants.get("acme").id)
        query = "SELECT body FROM audit_entries WHERE tenant_id = ? ORDER BY seq"
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return [json.loads(body) for (body,) in connection.execute(query, (tenant,))]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Return a warm service and another."""
    made = World(tmp_path / "q.db", monkeypatch)
    yield made
    made.other.close()
    made.kms.close()


def test_a_use_reads_nothing_again(world: World) -> None:
    """A key that is used again costs its entry and no query."""
    world.session.signatures.sign(b"m", algorithm=DSA)
    assert [s.split()[0] for s in world.statements] == [
        *("BEGIN", "PRAGMA", "INSERT", "INSERT", "COMMIT")
    ]


def _archive(session: qpher_core.Session) -> None:
    session.keys.suspend(DSA, 1)


CHANGES: dict[str, tuple[Callable[[qpher_core.Qpher], object], type[Exception]]] = {
    "key": (lambda kms: _archive(kms.session("acme", actor="x")), qpher_core.NotFound),
    "tenant": (lambda kms: kms.tenants.suspend("acme"), AuthenticationError),
    "policy": (
        lambda kms: kms.policies.set('[{"rule":"deny","actions":["signatures.sign"]}]'),
        PermissionDenied,
    ),
}


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_counts_at_once(world: World, change: str, where: str) -> None:
    """What is changed here or in another service is seen by the next use; it is refused once."""
    make, error = CHANGES[change]
    before = len(world.entries())
    make(world.kms if where == "here" else world.other)
    with pytest.raises(error):
        world.session.signatures.sign(b"m", algorithm=DSA)
    outcomes = [str(fields["outcome"]) for fields in world.entries()[before:]]
    assert outcomes.count("success") == (change != "policy")  # that of the change
    assert len(outcomes) - outcomes.count("success") == 1


def test_a_refusal_that_no_longer_holds_is_none(world: World) -> None:
    """What another service allows again is not refused for rows of before."""
    rules = world.kms.policies.get(None).rules
    world.kms.policies.set('[{"rule":"deny","actions":["signatures.sign"]}]')
    for _ in range(3):
        with pytest.raises(PermissionDenied):
            world.session.signatures.sign(b"m", algorithm=DSA)
    world.other.policies.set(rules)
    before = len(world.entries())
    world.session.signatures.sign(b"m", algorithm=DSA)
    assert [fields["outcome"] for fields in world.entries()[before:]] == ["success"]


def test_a_row_altered_by_hand_is_noticed(world: World) -> None:
    """Somebody with the database alone changes a state: the key that is open does not go on."""
    with contextlib.closing(sqlite3.connect(world.path)) as connection, connection:
        connection.execute("UPDATE key_versions SET state = 'archived'")
    with pytest.raises(qpher_core.QpherError):
        world.session.signatures.sign(b"m", algorithm=DSA)


def test_two_services_in_turns(world: World) -> None:
    """Two services that commit in turns both go on, each with one entry for a use."""
    before = len(world.entries())
    for _ in range(20):
        world.session.signatures.sign(b"m", algorithm=DSA)
        world.elsewhere.signatures.sign(b"m", algorithm=DSA)
    assert len(world.entries()) == before + 40
    assert world.kms.audit.verify("acme").ok


def test_an_older_version_is_not_affected(world: World) -> None:
    """After a rotation the former version still signs nothing new."""
    world.elsewhere.keys.rotate(DSA)
    assert world.session.signatures.sign(b"m", algorithm=DSA).key_version == 2
    with pytest.raises(StateConflict):
        world.session.signatures.sign(b"m", 1, algorithm=DSA)
