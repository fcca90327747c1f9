# SPDX-License-Identifier: Apache-2.0
"""The schema and its migrations.

The tenant is the first part of every primary key. Triggers refuse what must never happen even
to someone with a SQL prompt; someone who edits the file is caught by verification instead.
"""

import sqlite3

import sqlite_utils
from sqlite_utils.migrations import Migrations

from qpher_backends.sqlite.version import record
from qpher_core.audit.tree import grow, leaf_hash
from qpher_core.errors import StoreUnavailable

__all__ = ["migrate"]

_migrations = Migrations("qpher-core")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date; safe when several processes do it at once.

    Raises:
        StoreUnavailable: the database was made by a newer version.
    """
    database = sqlite_utils.Database(connection)
    known = {
        migration.name for migration in _migrations.pending(sqlite_utils.Database(memory=True))
    }
    connection.execute("BEGIN IMMEDIATE")
    try:
        newer = {migration.name for migration in _migrations.applied(database)} - known
        if newer:
            raise StoreUnavailable(
                f"the database has migrations that this version lacks: {', '.join(sorted(newer))}"
            )
        _migrations.apply(database)
        record(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _run(database: sqlite_utils.Database, *statements: str) -> None:
    for statement in statements:
        database.execute(statement)


@_migrations()
def m001_tenants(database: sqlite_utils.Database) -> None:
    """Tenants."""
    _run(
        database,
        """CREATE TABLE tenants (
            tenant_id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            plan TEXT,
            status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
    )


@_migrations()
def m002_keys(database: sqlite_utils.Database) -> None:
    """Key versions: sealed seeds, never private values; one active version of each key."""
    _run(
        database,
        """CREATE TABLE key_versions (
            tenant_id TEXT NOT NULL REFERENCES tenants (tenant_id),
            name TEXT NOT NULL,
            algorithm TEXT NOT NULL,
            version INTEGER NOT NULL CHECK (version >= 1),
            state TEXT NOT NULL CHECK (state IN
                ('active', 'suspended', 'retired', 'compromised', 'archived', 'destroyed')),
            public_key BLOB NOT NULL,
            created_at TEXT NOT NULL,
            changed_at TEXT NOT NULL,
            reason TEXT NOT NULL,
            revision INTEGER NOT NULL CHECK (revision >= 1),
            kek_id TEXT NOT NULL,
            sealed BLOB,
            PRIMARY KEY (tenant_id, name, algorithm, version),
            CHECK ((sealed IS NULL) = (state = 'destroyed'))
        ) STRICT""",
        """CREATE UNIQUE INDEX key_versions_one_active
            ON key_versions (tenant_id, name, algorithm) WHERE state = 'active'""",
        "CREATE INDEX key_versions_kek ON key_versions (kek_id) WHERE sealed IS NOT NULL",
        """CREATE TRIGGER key_versions_stay BEFORE DELETE ON key_versions
            BEGIN SELECT RAISE(ABORT, 'key records are never deleted'); END""",
        """CREATE TRIGGER key_versions_identity
            BEFORE UPDATE OF tenant_id, name, algorithm, version, public_key, created_at
            ON key_versions
            BEGIN SELECT RAISE(ABORT, 'the identity of a key never changes'); END""",
    )


@_migrations()
def m003_audit(database: sqlite_utils.Database) -> None:
    """The audit log: canonical entries, append only."""
    _run(
        database,
        """CREATE TABLE audit_entries (
            tenant_id TEXT NOT NULL,
            seq INTEGER NOT NULL CHECK (seq >= 0),
            body BLOB NOT NULL,
            hash BLOB NOT NULL CHECK (length(hash) = 32),
            PRIMARY KEY (tenant_id, seq)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE audit_heads (
            tenant_id TEXT PRIMARY KEY,
            size INTEGER NOT NULL,
            hash BLOB NOT NULL CHECK (length(hash) = 32)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TRIGGER audit_entries_fixed BEFORE UPDATE ON audit_entries
            BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END""",
        """CREATE TRIGGER audit_entries_stay BEFORE DELETE ON audit_entries
            BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END""",
    )


@_migrations()
def m004_policies(database: sqlite_utils.Database) -> None:
    """Policy documents, every revision; the empty tenant is the service."""
    _run(
        database,
        """CREATE TABLE policies (
            tenant_id TEXT NOT NULL,
            revision INTEGER NOT NULL CHECK (revision >= 1),
            rules TEXT NOT NULL,
            PRIMARY KEY (tenant_id, revision)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TRIGGER policies_fixed BEFORE UPDATE ON policies
            BEGIN SELECT RAISE(ABORT, 'policy revisions are never changed'); END""",
        """CREATE TRIGGER policies_stay BEFORE DELETE ON policies
            BEGIN SELECT RAISE(ABORT, 'policy revisions are never deleted'); END""",
    )


@_migrations()
def m005_tree(database: sqlite_utils.Database) -> None:
    """The Merkle tree: the subtrees that each entry completes, and the peaks; filled at once."""
    _run(
        database,
        "ALTER TABLE audit_entries ADD COLUMN nodes BLOB NOT NULL DEFAULT x''",
        "ALTER TABLE audit_heads ADD COLUMN peaks BLOB NOT NULL DEFAULT x''",
        "DROP TRIGGER audit_entries_fixed",
    )
    for (tenant_id,) in database.execute("SELECT tenant_id FROM audit_heads").fetchall():
        _grow_tree(database, tenant_id)
    _run(
        database,
        """CREATE TRIGGER audit_entries_fixed BEFORE UPDATE ON audit_entries
            BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END""",
    )


def _grow_tree(database: sqlite_utils.Database, tenant_id: str) -> None:
    size, peaks = 0, b""
    while rows := database.execute(
        "SELECT seq, body FROM audit_entries WHERE tenant_id = ? AND seq >= ?"
        " ORDER BY seq LIMIT 1000",
        (tenant_id, size),
    ).fetchall():
        for seq, body in rows:
            if seq != size:
                return  # a gap: verification names it; the tree ends before it
            peaks, nodes = grow(size, peaks, leaf_hash(body))
            database.execute(
                "UPDATE audit_entries SET nodes = ? WHERE tenant_id = ? AND seq = ?",
                (nodes, tenant_id, seq),
            )
            size += 1
    database.execute("UPDATE audit_heads SET peaks = ? WHERE tenant_id = ?", (peaks, tenant_id))


@_migrations()
def m006_anchors(database: sqlite_utils.Database) -> None:
    """Anchors, the service keys that sign them, and the statements that connect those keys."""
    _run(
        database,
        """CREATE TABLE service_keys (
            tenant_id TEXT NOT NULL,
            name TEXT NOT NULL,
            algorithm TEXT NOT NULL,
            version INTEGER NOT NULL CHECK (version >= 1),
            state TEXT NOT NULL CHECK (state IN
                ('active', 'suspended', 'retired', 'compromised', 'archived', 'destroyed')),
            public_key BLOB NOT NULL,
            created_at TEXT NOT NULL,
            changed_at TEXT NOT NULL,
            reason TEXT NOT NULL,
            revision INTEGER NOT NULL CHECK (revision >= 1),
            kek_id TEXT NOT NULL,
            sealed BLOB,
            PRIMARY KEY (tenant_id, name, algorithm, version),
            CHECK ((sealed IS NULL) = (state = 'destroyed'))
        ) STRICT""",
        """CREATE UNIQUE INDEX service_keys_one_active
            ON service_keys (tenant_id, name, algorithm) WHERE state = 'active'""",
        """CREATE TRIGGER service_keys_stay BEFORE DELETE ON service_keys
            BEGIN SELECT RAISE(ABORT, 'key records are never deleted'); END""",
        """CREATE TABLE audit_anchors (
            tenant_id TEXT NOT NULL,
            size INTEGER NOT NULL CHECK (size >= 1),
            time TEXT NOT NULL,
            note TEXT NOT NULL,
            PRIMARY KEY (tenant_id, size)
        ) STRICT""",
        """CREATE TRIGGER audit_anchors_fixed BEFORE UPDATE ON audit_anchors
            BEGIN SELECT RAISE(ABORT, 'anchors are never changed'); END""",
        """CREATE TRIGGER audit_anchors_stay BEFORE DELETE ON audit_anchors
            BEGIN SELECT RAISE(ABORT, 'anchors are never deleted'); END""",
        """CREATE TABLE anchor_statements (
            number INTEGER PRIMARY KEY,
            note TEXT NOT NULL
        ) STRICT""",
    )


@_migrations()
def m007_intents(database: sqlite_utils.Database) -> None:
    """Changes that another store takes part in, until they are settled."""
    _run(database, "CREATE TABLE intents (id TEXT PRIMARY KEY, entries TEXT NOT NULL) STRICT")


@_migrations()
def m008_compromised(database: sqlite_utils.Database) -> None:
    """When a key was first marked as compromised; it never becomes unmarked."""
    for table in ("key_versions", "service_keys"):
        _run(
            database,
            f"ALTER TABLE {table} ADD COLUMN compromised_at TEXT",
            f"""CREATE TRIGGER {table}_compromised BEFORE UPDATE ON {table}
                WHEN OLD.compromised_at IS NOT NULL
                    AND NEW.compromised_at IS NOT OLD.compromised_at
                BEGIN SELECT RAISE(ABORT, 'a compromised key stays marked'); END""",
        )


@_migrations()
def m009_access(database: sqlite_utils.Database) -> None:
    """API keys, and the calls that were given an idempotency key."""
    _run(
        database,
        """CREATE TABLE api_keys (
            key_id TEXT PRIMARY KEY,
            tenant_id TEXT NOT NULL REFERENCES tenants (tenant_id),
            name TEXT NOT NULL,
            scopes TEXT NOT NULL,
            version INTEGER NOT NULL CHECK (version >= 1),
            created_at TEXT NOT NULL,
            expires_at TEXT,
            revoked_at TEXT,
            last_used_at TEXT,
            secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
            UNIQUE (tenant_id, name, version)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TRIGGER api_keys_stay BEFORE DELETE ON api_keys
            BEGIN SELECT RAISE(ABORT, 'API keys are never deleted'); END""",
        """CREATE TRIGGER api_keys_identity
            BEFORE UPDATE OF key_id, tenant_id, name, scopes, version, created_at, secret_hash
            ON api_keys
            BEGIN SELECT RAISE(ABORT, 'the identity of an API key never changes'); END""",
        """CREATE TRIGGER api_keys_revoked BEFORE UPDATE ON api_keys
            WHEN OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NOT OLD.revoked_at
            BEGIN SELECT RAISE(ABORT, 'a revoked API key stays revoked'); END""",
        """CREATE TABLE idempotency (
            tenant_id TEXT NOT NULL,
            key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),
            fingerprint BLOB NOT NULL,
            request_id TEXT NOT NULL,
            created_at TEXT NOT NULL,
            answer BLOB,
            PRIMARY KEY (tenant_id, key_hash)
        ) STRICT""",
        "CREATE INDEX idempotency_age ON idempotency (tenant_id, created_at)",
    )


@_migrations()
def m010_bases(database: sqlite_utils.Database) -> None:
    """Where logs begin whose first entries were moved out; only those may be removed."""
    _run(
        database,
        """CREATE TABLE audit_bases (
            tenant_id TEXT PRIMARY KEY,
            size INTEGER NOT NULL CHECK (size >= 1),
            hash BLOB NOT NULL CHECK (length(hash) = 32),
            peaks BLOB NOT NULL,
            uses BLOB NOT NULL,
            segment BLOB NOT NULL CHECK (length(segment) = 32)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TRIGGER audit_bases_begin BEFORE INSERT ON audit_bases
            WHEN NOT EXISTS (SELECT 1 FROM audit_anchors
                WHERE tenant_id = NEW.tenant_id AND size = NEW.size)
            BEGIN SELECT RAISE(ABORT, 'only anchored entries are moved out'); END""",
        """CREATE TRIGGER audit_bases_grow BEFORE UPDATE ON audit_bases
            WHEN NEW.size <= OLD.size OR NEW.tenant_id <> OLD.tenant_id
                OR NOT EXISTS (SELECT 1 FROM audit_anchors
                    WHERE tenant_id = NEW.tenant_id AND size = NEW.size)
            BEGIN SELECT RAISE(ABORT, 'a log begins at an anchor, and never earlier again'); END""",
        """CREATE TRIGGER audit_bases_stay BEFORE DELETE ON audit_bases
            BEGIN SELECT RAISE(ABORT, 'a log never begins earlier again'); END""",
        "DROP TRIGGER audit_entries_stay",
        """CREATE TRIGGER audit_entries_stay BEFORE DELETE ON audit_entries
            WHEN OLD.seq >= coalesce(
                (SELECT size FROM audit_bases WHERE tenant_id = OLD.tenant_id), 0)
            BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END""",
    )
