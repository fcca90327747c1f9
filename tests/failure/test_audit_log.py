# SPDX-License-Identifier: Apache-2.0
"""An audit log that cannot record."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import qpher_core
from qpher_backends.sqlite import store as sqlite_store
from qpher_core import AuditUnavailable, StoreUnavailable
from tests.failure.conftest import OPERATIONS, keys_of, last_entry
from tests.failure.limited import NOBODY

ROOT = Path(__file__).resolve().parents[2]


def _under(limit: str, url: str, name: str) -> str:
    """Return how an operation ended in a process with a limit."""
    command = [sys.executable, "-m", "tests.failure.limited", limit, url, name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_full_disk_releases_nothing(url: str, name: str) -> None:
    """With no room for the entry, the operation fails as AuditUnavailable and changes nothing."""
    before, entry = keys_of(url), last_entry(url)
    assert _under("full", url, name).startswith("AuditUnavailable: the audit log cannot record")
    assert keys_of(url) == before
    assert last_entry(url) == entry


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_store_that_cannot_be_written_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """For a user who may only read it, nothing is released from the store."""
    folder = tmp_path_factory.mktemp("read-only")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    url = f"sqlite:///{folder}/q.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        kms.session("acme", actor="test").keys.generate("ML-DSA-65")
    (folder / "q.db").chmod(0o444)
    os.chown(folder / "q.db.kek", NOBODY, NOBODY)
    assert _under("read-only", url, "sign").startswith("StoreUnavailable: cannot open")


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Leave the database no room, as a full disk would, but within this process."""
    blocker = sqlite3.connect(folder / "q.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()


def test_a_store_that_is_locked_for_too_long_releases_nothing(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: Callable[[qpher_core.Session], object],
) -> None:
    """While another holds the write lock past the waiting time, nothing happens; then it works."""
    before = keys_of(url)
    monkeypatch.setattr(sqlite_store, "_BUSY_SECONDS", 0.05)
    with qpher_core.open(url) as kms:
        session = kms.session("acme", actor="test")
        with _full(tmp_path), pytest.raises(AuditUnavailable, match="audit log"):
            operation(session)
        assert list(session.keys.list()) == before
        operation(session)
        assert kms.audit.verify("acme").ok


@pytest.mark.parametrize("how", ["unlinked", "replaced"])
def test_a_database_file_that_is_gone_is_never_written(url: str, tmp_path: Path, how: str) -> None:
    """A service whose file was unlinked or replaced refuses instead of writing to an orphan."""
    with qpher_core.open(url) as kms:
        session = kms.session("acme", actor="test")
        moved = (tmp_path / "q.db").rename(tmp_path / "moved.db")
        if how == "replaced":
            (tmp_path / "q.db").write_bytes(moved.read_bytes())
        with pytest.raises(AuditUnavailable):
            session.signatures.sign(b"m")


@pytest.mark.parametrize("how", ["unlinked", "replaced"])
def test_the_log_of_a_database_that_is_gone_is_not_called_sound(
    url: str, tmp_path: Path, how: str
) -> None:
    """Who only verifies, reads or proves notices at once that the file is another."""
    with qpher_core.open(url) as kms:
        session = kms.session("acme", actor="test")
        receipt = session.signatures.sign(b"m").receipt
        session.audit.proof(receipt)
        moved = (tmp_path / "q.db").rename(tmp_path / "moved.db")
        if how == "replaced":
            (tmp_path / "q.db").write_bytes(moved.read_bytes())
        for look in (
            lambda: kms.audit.verify("acme"),
            session.audit.verify,
            lambda: list(session.audit.entries()),
            lambda: session.audit.proof(receipt),
            lambda: kms.anchors.latest(kms.tenants.get("acme")),
        ):
            with pytest.raises((StoreUnavailable, AuditUnavailable)):
                look()


def test_a_refusal_that_cannot_be_recorded_says_so(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the audit log takes the place of the refusal, which it keeps as its cause."""
    monkeypatch.setattr(sqlite_store, "_BUSY_SECONDS", 0.05)
    with qpher_core.open(url) as kms:
        session = kms.session("acme", actor="test")
        with _full(tmp_path), pytest.raises(AuditUnavailable) as caught:
            session.kem.encrypt(b"m", key_version=9)
    assert isinstance(caught.value.__cause__, qpher_core.NotFound)


def test_a_forked_process_refuses(url: str) -> None:
    """A store that was opened before a fork is not used after it."""
    with qpher_core.open(url) as kms:
        session = kms.session("acme", actor="test")
        child = os.fork()
        if child == 0:
            try:
                session.signatures.sign(b"m")
            except (AuditUnavailable, StoreUnavailable):
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert session.signatures.sign(b"m").signature


def test_a_closed_service_refuses(url: str) -> None:
    """After close nothing is released, and closing again does nothing."""
    kms = qpher_core.open(url)
    session = kms.session("acme", actor="test")
    kms.close()
    kms.close()
    with pytest.raises(qpher_core.Unavailable):
        session.signatures.sign(b"m")
