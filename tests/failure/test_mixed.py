# SPDX-License-Identifier: Apache-2.0
"""Keys in one store, the log in another, and one of them fails."""

import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import qpher_core
from qpher_backends.filesystem import FileStore, gate
from qpher_backends.memory import MemoryStore
from qpher_backends.sqlite import SQLiteStore
from qpher_core import AuditUnavailable, IntegrityError, ValidationError
from qpher_core.discovery import open_store
from qpher_core.mixed import MixedStore, mix
from qpher_core.service import Qpher
from tests.contract.table import BACKENDS, backends
from tests.records import new_tenant
from tests.world import CALLS, KEM, audit_of, make_goods, snapshot

BY_HAND = qpher_core.AnchorSettings(every_seconds=None)


@pytest.fixture
def kms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Qpher]:
    """Open keys in files with the log in SQLite; nobody waits long for a lock."""
    monkeypatch.setattr(gate, "_BUSY_SECONDS", 0.05)
    audit = f"sqlite:///{tmp_path}/log.db"
    with qpher_core.open(f"file://{tmp_path}/keys", audit=audit, anchors=BY_HAND) as opened:
        opened.tenants.create("acme")
        yield opened


def _stores(kms: Qpher) -> tuple[FileStore, SQLiteStore]:
    store = kms._store
    assert isinstance(store, MixedStore)
    return store._keys_store, store._audit_store


def test_a_change_that_the_keys_do_not_take_is_taken_back(
    kms: Qpher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the key store cannot commit, nothing changes, and the next entry of the log says so."""
    session = kms.session("acme", actor="tester")
    session.keys.generate(KEM)
    before = snapshot(kms)
    keys, audit = _stores(kms)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(keys._files.journal, "append", full)
        with pytest.raises(AuditUnavailable):
            session.keys.rotate(KEM)
        assert list(audit.intents.all()) == []
        session.kem.encrypt(b"uses of keys need the log alone")
    after = snapshot(kms)
    assert after.keys == before.keys
    size = len(before.entries)
    assert [outcome for _, outcome, _ in audit_of(after)[size:]][:2] == ["success", "failed"]
    taken_back = after.entries[size + 1].fields
    assert f"entry {size} was not carried out" in taken_back["reason"]
    assert taken_back["request_id"] == after.entries[size].fields["request_id"]
    assert session.keys.rotate(KEM).key_version == 2
    assert kms.audit.verify("acme").ok


def test_a_change_that_cannot_be_taken_back_yet_stops_everything(
    kms: Qpher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until an unfinished change is settled nothing else is recorded or released."""
    session = kms.session("acme", actor="tester")
    goods = make_goods(session)
    keys, audit = _stores(kms)
    settled = keys._files.settled
    broken = False

    def breaks(*_: object) -> None:
        nonlocal broken
        broken = True
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(keys._files.journal, "append", breaks)
        # Once it broke, the key store does not answer to those who would settle either.
        patch.setattr(keys._files, "settled", lambda: breaks() if broken else settled())
        with pytest.raises(AuditUnavailable):
            session.keys.rotate(KEM, name="k-turn")
        assert len(audit.intents.all()) == 1
        size = audit.audit.head(kms.tenants.get("acme").id)[0]
        for action in ("kem.encrypt", "signatures.sign", "keys.suspend"):
            with pytest.raises(AuditUnavailable):
                CALLS[action](session, goods)
        assert audit.audit.head(kms.tenants.get("acme").id)[0] == size
    CALLS["kem.encrypt"](session, goods)
    assert list(audit.intents.all()) == []
    told = [(action, outcome) for action, outcome, _ in audit_of(snapshot(kms))[-3:]]
    assert told == [
        ("keys.rotate", "success"),
        ("keys.rotate", "failed"),
        ("kem.encrypt", "success"),
    ]


def test_a_log_that_cannot_record_changes_nothing(
    kms: Qpher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the audit store unavailable, changes and uses are refused and the keys untouched."""
    monkeypatch.setattr("qpher_backends.sqlite.store._BUSY_SECONDS", 0.05)
    session = kms.session("acme", actor="tester")
    goods = make_goods(session)
    before = snapshot(kms)
    _, audit = _stores(kms)
    path = audit._path
    moved = path.rename(path.with_suffix(".moved"))
    for action in ("kem.encrypt", "keys.rotate", "keys.generate", "keys.suspend"):
        with pytest.raises(AuditUnavailable):
            CALLS[action](session, goods)
    moved.rename(path)
    assert snapshot(kms) == before
    for call in CALLS.values():
        call(session, goods)
    assert kms.audit.verify("acme").ok


def test_uses_do_not_wait_for_the_key_store(kms: Qpher, tmp_path: Path) -> None:
    """While another process holds the key store's lock, keys are used and not changed."""
    session = kms.session("acme", actor="tester")
    session.keys.generate(KEM)
    session.kem.encrypt(b"settles the change")
    handle = os.open(tmp_path / "keys" / "lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert session.kem.encrypt(b"m").ciphertext
        with pytest.raises(AuditUnavailable):
            session.keys.rotate(KEM)
    finally:
        os.close(handle)
    assert session.keys.rotate(KEM).key_version == 2


def test_another_log_is_refused(kms: Qpher, tmp_path: Path) -> None:
    """Keys do not open with a log that is not theirs, such as a new and empty one."""
    with pytest.raises(IntegrityError, match="belongs to other keys"):
        qpher_core.open(f"file://{tmp_path}/keys", audit=f"sqlite:///{tmp_path}/other.db")


def test_a_log_of_other_keys_is_left_as_it_is(kms: Qpher, tmp_path: Path) -> None:
    """Opening keys with the log of others by mistake says nothing false in either log."""
    theirs = {"url": f"file://{tmp_path}/theirs", "audit": f"sqlite:///{tmp_path}/theirs.db"}
    with qpher_core.open(**theirs, anchors=BY_HAND) as other:
        other.tenants.create("rival")
    with pytest.raises(IntegrityError, match="belongs to other keys"):
        qpher_core.open(f"file://{tmp_path}/keys", audit=theirs["audit"], anchors=BY_HAND)
    with qpher_core.open(**theirs, anchors=BY_HAND) as other:
        for opened, tenant in ((other, "rival"), (kms, "acme")):
            session = opened.session(tenant, actor="tester")
            session.keys.generate(KEM)
            assert {e.fields["outcome"] for e in session.audit.entries()} == {"success"}


def test_a_store_without_intents_cannot_be_mixed(tmp_path: Path) -> None:
    """A store that keeps no intents is refused as a part, by name."""

    class Plain:
        """A store that is complete on its own."""

    with pytest.raises(ValidationError, match="keeps no intents"):
        mix(MemoryStore(), Plain())


@pytest.mark.parametrize("backend", backends(shared=True, mixes=True))
def test_no_store_is_mixed_with_itself(tmp_path: Path, backend: str) -> None:
    """Two openings of one are told apart from two stores by what is in them, and stay usable."""
    (tmp_path / "other").mkdir()
    url, other = BACKENDS[backend].url(tmp_path), BACKENDS[backend].url(tmp_path / "other")
    with closing(open_store(url, parameter="url")) as keys:
        with closing(open_store(url, parameter="url")) as audit:
            with pytest.raises(ValidationError, match="another store"):
                mix(keys, audit)
            assert [*keys.intents.all()] == []
            tenant = new_tenant()
            keys.commit(lambda writer: writer.tenants.insert(tenant))
            assert audit.tenants.get(tenant.id) == tenant
        with closing(open_store(other, parameter="url")) as audit:
            mixed = mix(keys, audit)
            assert mixed.tenants.get(tenant.id) == tenant
            assert [*keys.intents.all(), *audit.intents.all()] == []


@pytest.mark.parametrize("other", ["keys.db", "./keys.db", "link.db"])
def test_one_database_is_not_two_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Keys and log in the same one are refused on opening, however it is named."""
    monkeypatch.chdir(tmp_path)
    Path("link.db").symlink_to("keys.db")
    url = f"mixed:keys=sqlite:///{tmp_path}/keys.db audit=sqlite:///{other}"
    for arguments in ({"url": url}, {"url": "sqlite:///keys.db", "audit": f"sqlite:///./{other}"}):
        with pytest.raises(ValidationError, match="another store") as caught:
            qpher_core.open(**arguments)
        assert caught.value.parameter == "audit"
    with qpher_core.open("sqlite:///keys.db", audit="sqlite:///log.db") as opened:
        assert isinstance(opened._store, MixedStore)
        assert [*opened._store._keys_store.intents.all()] == []
    with qpher_core.open("sqlite:///alone.db", audit="sqlite:///alone.db") as opened:
        assert not isinstance(opened._store, MixedStore)


def test_a_memory_store_takes_part(tmp_path: Path) -> None:
    """Threads that change and use keys in memory, with the log on disk, do not block each other."""
    audit = f"sqlite:///{tmp_path}/log.db"
    with qpher_core.open("memory:", audit=audit, anchors=BY_HAND) as opened:
        opened.tenants.create("acme")
        session = opened.session("acme", actor="tester")
        session.keys.generate(KEM)

        def use(number: int) -> object:
            return session.keys.rotate(KEM) if number % 4 == 0 else session.kem.encrypt(b"m")

        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(use, range(64), timeout=60))) == 64
        assert [key.version for key in session.keys.list(KEM)] == list(range(1, 18))
        assert opened.audit.verify("acme").ok
