# SPDX-License-Identifier: Apache-2.0
"""A full disk and a read-only database: everything is refused and undone, later all work."""

import functools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import sql

import qpher_core
from qpher_core import AuditUnavailable
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.postgres import _OWNER, _TEMPLATE, Server, database_url
from tests.postgresql.conftest import Prompt
from tests.world import CALLS, RECORDED, Goods, make_goods, snapshot

BY_HAND = qpher_core.AnchorSettings(every_seconds=None)
_SIZE = 32 * 2**20  # bytes; a fresh database has some eight million


def _all_refused(kms: Qpher, session: Session, goods: Goods) -> None:
    before = snapshot(kms)
    changes: list[Callable[[], object]] = [
        lambda: kms.tenants.set_plan("acme", "enterprise"),
        lambda: kms.policies.set('[{"rule":"plan"}]', tenant="acme"),
        *(functools.partial(CALLS[action], session, goods) for action in RECORDED),
    ]
    for change in changes:
        with pytest.raises(AuditUnavailable, match="the audit log cannot record"):
            change()
    assert snapshot(kms) == before


# --- read-only --------------------------------------------------------------------------------


@contextmanager
def _read_only(superuser: Prompt) -> Iterator[None]:
    name = sql.Identifier(superuser.info.dbname)
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND usename = 'qpher_node_1'"
    )
    alter = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
    superuser.execute(alter.format(name, sql.SQL("on")))
    superuser.execute(ended)
    try:
        yield
    finally:
        superuser.execute(alter.format(name, sql.SQL("off")))
        superuser.execute(ended)


def test_a_database_that_is_read_only_for_a_while(tmp_path: Path, superuser: Prompt) -> None:
    """Every operation is refused and undone, public reads go on, and later all work."""
    with qpher_core.open(database_url(tmp_path), anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        goods = make_goods(session)
        with _read_only(superuser):
            _all_refused(kms, session, goods)
            assert session.audit.verify().ok
            with qpher_core.open(database_url(tmp_path), anchors=BY_HAND) as other:
                assert other.audit.verify("acme").ok
        for call in CALLS.values():
            call(session, goods)
        assert kms.audit.verify("acme").ok


# --- a full disk ------------------------------------------------------------------------------


@pytest.fixture
def disk(own: Server, tmp_path: Path) -> Iterator[Path]:
    """Mount a small file system for the server."""
    place = own.folder / f"disk-{tmp_path.name}"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    shutil.chown(place, "postgres", "postgres")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(2**16))


def _log(session: Session) -> None:
    for _ in range(1000):
        session.kem.wrap(bytes(16), name="k-main")  # the shortest of all entries


@contextmanager
def _full(disk: Path, session: Session) -> Iterator[None]:
    """Nothing is left, neither on the disk nor in the pages that the log already has."""
    with pytest.raises(OSError, match="No space left on device"):
        _fill(disk)
    with pytest.raises(AuditUnavailable, match="No space left on device"):
        _log(session)
    yield
    (disk / "filler").unlink()


def test_a_disk_that_fills_up_and_is_emptied(own: Server, disk: Path) -> None:
    """With no room left every operation is refused and undone; with room, all work."""
    with own.connect() as superuser:
        superuser.execute(
            sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(disk)))
        )
        superuser.execute(
            sql.SQL("CREATE DATABASE full_disk OWNER {} TEMPLATE {} TABLESPACE small").format(
                sql.Identifier(_OWNER), sql.Identifier(_TEMPLATE)
            )
        )
    with qpher_core.open(own.url("full_disk"), anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="t")
        goods = make_goods(session)
        with _full(disk, session):
            _all_refused(kms, session, goods)
        for call in CALLS.values():
            call(session, goods)
        assert kms.audit.verify("acme").ok
    with own.connect() as superuser:
        superuser.execute("DROP DATABASE full_disk WITH (FORCE)")
        superuser.execute("DROP TABLESPACE small")
