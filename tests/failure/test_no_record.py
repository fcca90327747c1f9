# SPDX-License-Identifier: Apache-2.0
"""Each way in which a store stops writing, each operation, and back again."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import qpher_core
from qpher_backends.sqlite import SQLiteStore
from qpher_backends.sqlite import store as sqlite_store
from qpher_core import AuditUnavailable, Unavailable
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.contract.table import BACKENDS, backends
from tests.world import CALLS, KEM, RECORDED, Goods, Snapshot, make_goods, snapshot

ROOT = Path(__file__).resolve().parents[2]
FULL = Path(__file__).with_name("full_disk.py")


@contextmanager
def _locked(_: SQLiteStore, path: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def _no_more_pages(store: SQLiteStore, _: Path) -> Iterator[None]:
    """The database may not grow, and what is free in it has been used up."""
    connection = store._write_connection
    before = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {before}")
    filler = qpher_core.open(store).session("acme", actor="f")
    for _attempt in range(200):
        try:
            filler.kem.wrap(bytes(16), name="k-main")  # the shortest of all entries
        except AuditUnavailable:
            break
    else:
        raise AssertionError("the database never got full")
    yield
    connection.execute(f"PRAGMA max_page_count = {before + 100_000}")


@contextmanager
def _unlinked(_: SQLiteStore, path: Path) -> Iterator[None]:
    """The file has no name any more."""
    kept = path.with_suffix(".kept")
    os.link(path, kept)
    path.unlink()
    yield
    kept.replace(path)


@contextmanager
def _replaced(_: SQLiteStore, path: Path) -> Iterator[None]:
    """Another file has its name."""
    kept = path.rename(path.with_suffix(".kept"))
    shutil.copy(kept, path)
    yield
    kept.replace(path)


BREAKS: dict[str, Callable[[SQLiteStore, Path], AbstractContextManager[None]]] = {
    "locked": _locked,
    "no more pages": _no_more_pages,
    "unlinked": _unlinked,
    "replaced": _replaced,
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the database goes; nobody waits long for its lock."""
    monkeypatch.setattr(sqlite_store, "_BUSY_SECONDS", 0.02)
    return tmp_path / "q.db"


def _content(kms: Qpher) -> Snapshot:
    """Return what the opened file holds, whatever has its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQLiteStore, "_check_file", lambda _: None)
        return snapshot(kms)


def _all_refused(kms: Qpher, session: Session, goods: Goods, how: str) -> None:
    for action in RECORDED:
        with pytest.raises(AuditUnavailable, match="the audit log cannot record"):
            CALLS[action](session, goods)
    changes: list[Callable[[], object]] = [
        lambda: kms.tenants.set_plan("acme", "enterprise"),
        lambda: kms.tenants.suspend("acme"),
        lambda: kms.policies.set('[{"rule":"plan"}]', tenant="acme"),
        lambda: kms.policies.set('[{"rule":"plan"}]'),
    ]
    if how != "no more pages":  # the first entry of a new log may still fit between the others
        changes.append(lambda: kms.tenants.create("another"))
    for change in changes:
        with pytest.raises(AuditUnavailable, match="the audit log cannot record"):
            change()


@pytest.mark.parametrize("how", BREAKS)
def test_nothing_happens_without_its_record(path: Path, how: str) -> None:
    """While the log cannot record, every operation is refused and undone; later all work."""
    store = SQLiteStore(path)
    with qpher_core.open(store) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        goods = make_goods(session)
        with BREAKS[how](store, path):
            before = _content(kms)
            _all_refused(kms, session, goods, how)
            assert _content(kms) == before
        for call in CALLS.values():
            call(session, goods)
        assert kms.audit.verify("acme").ok
        assert kms.audit.verify().ok
    with qpher_core.open(f"sqlite:///{path}") as kms:
        assert kms.audit.verify("acme").ok


@pytest.mark.parametrize("how", ["unlinked", "replaced"])
def test_a_new_connection_does_not_read_another_file(path: Path, how: str) -> None:
    """What has the database's name now is neither read nor made."""
    store = SQLiteStore(path)
    with qpher_core.open(store) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        session.keys.generate(KEM)
        with BREAKS[how](store, path):
            store._idle.clear()  # as when more threads read than ever before
            with pytest.raises(Unavailable):
                session.keys.get(KEM, 1)
            assert path.exists() == (how == "replaced")
        assert session.keys.get(KEM, 1).version == 1


def test_a_refusal_that_cannot_be_recorded_is_unavailable(path: Path) -> None:
    """A denial in a log that cannot record becomes AuditUnavailable, with the denial behind it."""
    store = SQLiteStore(path)
    with qpher_core.open(store) as kms:
        kms.tenants.create("acme", plan="free")
        session = kms.session("acme", actor="tester")
        with _locked(store, path), pytest.raises(AuditUnavailable) as caught:
            session.audit.verify()
        assert isinstance(caught.value.__cause__, qpher_core.PermissionDenied)
        with pytest.raises(qpher_core.PermissionDenied):
            session.audit.verify()


def test_public_reads_go_on(path: Path) -> None:
    """Reads of public data, which leave no entry, work while nothing can be written."""
    store = SQLiteStore(path)
    with qpher_core.open(store) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        key = session.keys.generate(KEM)
        with _locked(store, path):
            assert session.keys.get(KEM, 1) == key
            assert session.audit.verify().ok


@pytest.mark.parametrize("backend", backends(durable=True, local=True))
def test_a_disk_that_fills_up_and_is_emptied(tmp_path: Path, backend: str) -> None:
    """With no file able to grow every operation is refused and undone; with room, all work."""
    url = BACKENDS[backend].url(tmp_path)
    command = [sys.executable, "-m", "tests.failure.full_disk", url]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    refused = {line for line in done.stdout.splitlines() if line.endswith("AuditUnavailable")}
    assert refused == {f"{action} AuditUnavailable" for action in RECORDED}
    assert done.stdout.endswith("unchanged\nall work\n")
    with qpher_core.open(url) as kms:
        assert kms.audit.verify("acme").ok


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o555, 0o644), (0o755, 0o444)])
def test_a_place_that_cannot_be_written_does_not_open(
    tmp_path: Path, folder_mode: int, file_mode: int
) -> None:
    """A read-only database, or one in a read-only folder, is StoreUnavailable; it stays as is."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    database = tmp_path / "q.db"
    with qpher_core.open(f"sqlite:///{database}") as kms:
        kms.tenants.create("acme")
    before = database.read_bytes()
    for path in (tmp_path, database, database.with_name("q.db.kek")):
        os.chown(path, 65534, 65534)
    database.chmod(file_mode)
    tmp_path.chmod(folder_mode)
    script = (
        "import os, sys, qpher_core, qpher_backends.sqlite\n"
        "qpher_core.discovery.open_primitives(None)  # the user below may not read its files\n"
        "os.setuid(65534)\n"
        "try: qpher_core.open(sys.argv[1])\n"
        "except qpher_core.StoreUnavailable as error: print('refused', error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, f"sqlite:///{database}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("refused")
    assert database.read_bytes() == before


@pytest.fixture(params=backends())
def prepared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Qpher, Goods]]:
    """Open a service on every backend, with goods."""
    with qpher_core.open(BACKENDS[request.param].url(tmp_path)) as kms:
        kms.tenants.create("acme")
        yield kms, make_goods(kms.session("acme", actor="tester"))


def test_a_closed_service_refuses_everything(prepared: tuple[Qpher, Goods]) -> None:
    """After close every operation and every read is refused; closing again does nothing."""
    kms, goods = prepared
    session = kms.session("acme", actor="tester")
    kms.close()
    kms.close()
    for call in CALLS.values():
        with pytest.raises(Unavailable, match="closed"):
            call(session, goods)
    reads: list[Callable[[], object]] = [
        kms.tenants.list,
        kms.policies.get,
        lambda: kms.session("acme", actor="tester"),
        kms.audit.verify,
        lambda: kms.tenants.create("late"),
    ]
    for read in reads:
        with pytest.raises(Unavailable, match="closed"):
            read()


@pytest.mark.parametrize("backend", backends(durable=True))
def test_a_fork_refuses_and_its_parent_goes_on(tmp_path: Path, backend: str) -> None:
    """A forked child is refused everything, and its closing of the service harms nobody."""
    with qpher_core.open(BACKENDS[backend].url(tmp_path)) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        goods = make_goods(session)
        before = snapshot(kms)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking with threads
            child = os.fork()
        if child == 0:
            os._exit(_tries_everything(kms, session, goods))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert snapshot(kms) == before
        for call in CALLS.values():
            call(session, goods)
        assert kms.audit.verify("acme").ok


def _tries_everything(kms: Qpher, session: Session, goods: Goods) -> int:
    refused = 0
    try:
        for call in CALLS.values():
            try:
                call(session, goods)
            except Unavailable as error:
                refused += "fork" in str(error)
        kms.close()
    except BaseException:  # noqa: BLE001 - a child must not run the parent's tests
        return 2
    return 0 if refused == len(CALLS) else 1


def test_the_limit_is_there() -> None:
    """The limit that stands for a full disk exists on this system."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
