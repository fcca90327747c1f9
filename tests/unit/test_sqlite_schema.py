# SPDX-License-Identifier: Apache-2.0
"""Migrations of the SQLite backend on databases that older versions made."""

import sqlite3
from pathlib import Path

import qpher_core
from qpher_backends.sqlite import SQLiteStore


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
