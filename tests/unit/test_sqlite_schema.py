# SPDX-License-Identifier: Apache-2.0
"""Migrations of the SQLite backend on databases that older versions made."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlite_utils

import qpher_core
from qpher_backends.sqlite import SQLiteStore
from qpher_backends.sqlite.schema import _migrations
from qpher_backends.sqlite.version import VERSION
from qpher_core.errors import StoreUnavailable


def _as_before_the_tree(path: Path) -> None:
    """Bring a database back to what it was before migration m005."""
    database = sqlite3.connect(path)
    with database:
        database.execute("DROP TRIGGER audit_entries_stay")
        database.execute("DROP TABLE audit_bases")
        database.execute(
            "CREATE TRIGGER audit_entries_stay BEFORE DELETE ON audit_entries"
            " BEGIN SELECT RAISE(ABORT, 'never'); END"
        )
        database.execute("ALTER TABLE audit_entries DROP COLUMN nodes")
        database.execute("ALTER TABLE audit_heads DROP COLUMN peaks")
        for table in ("service_keys", "audit_anchors", "anchor_statements"):
            database.execute(f"DROP TABLE {table}")
        for table in ("intents", "api_keys", "idempotency"):
            database.execute(f"DROP TABLE {table}")
        database.execute("DROP TRIGGER key_versions_compromised")
        database.execute("ALTER TABLE key_versions DROP COLUMN compromised_at")
        database.execute("DELETE FROM _sqlite_migrations WHERE name >= 'm005'")
    database.execute("PRAGMA user_version = 0")  # those versions wrote none
    database.close()


def test_an_existing_log_gets_its_tree(tmp_path: Path) -> None:
    """Entries that were written before there was a tree have the same tree afterwards."""
    path = tmp_path / "q.db"
    with qpher_core.open(f"sqlite:///{path}") as kms:
        tenant = kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate("ML-KEM-768")
        for _ in range(5):
            session.kem.encapsulate()
        expected = kms._store.audit.state(tenant.id)
    _as_before_the_tree(path)
    store = SQLiteStore(path)
    assert store.audit.state(tenant.id) == expected
    store.close()
    with qpher_core.open(f"sqlite:///{path}") as kms:
        kms.session("acme", actor="test").kem.encapsulate()
        assert kms.audit.verify("acme").ok


def test_the_version_counts_the_migrations() -> None:
    """A start that finds this version in the database looks at no migration."""
    assert len(_migrations.pending(sqlite_utils.Database(memory=True))) == VERSION & 0xFFFF


def test_a_start_on_a_current_database_loads_no_migrations(tmp_path: Path) -> None:
    """What they cost, 80 ms and megabytes, is for databases that they change."""
    url = f"sqlite:///{tmp_path}/q.db"
    qpher_core.open(url).close()
    look = (
        "import sys, qpher_core; qpher_core.open(sys.argv[1]).close();"
        "print(*{'sqlite_utils', 'asyncio'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", look, url], check=True, capture_output=True, text=True
    )
    assert found.stdout.split() == []


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """Its version differs, so its migrations are looked at, and one is not known here."""
    path = tmp_path / "q.db"
    SQLiteStore(path).close()
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('qpher-core', 'm999_later', '2030-01-01')"
        )
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreUnavailable, match="m999_later"):
        SQLiteStore(path)


def test_a_file_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    """What is no database is named, and not written to."""
    path = tmp_path / "notes.txt"
    path.write_text("a note\n")
    with pytest.raises(StoreUnavailable, match=f"cannot open {path}: .*not a database"):
        qpher_core.open(f"sqlite:///{path}")
    assert path.read_text() == "a note\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    """No tables of ours, no other journal and no key beside it: the path was a mistake."""
    path = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE customers (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="a database of something else"):
        qpher_core.open(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
