# SPDX-License-Identifier: Apache-2.0
"""The schema and its migrations, which the role that owns the tables applies.

The tenant is the first part of every primary key, and a row-level policy of every table that has
one: a statement sees and writes the rows of the tenant that its transaction has set as
``app.tenant``, and without one, none. The nodes' role deletes no record but
audit entries that were moved out, and may update few columns;
triggers refuse the same to the owner at a prompt.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg

from qpher_backends.postgres.connections import conninfo_of
from qpher_backends.postgres.roles import NODES
from qpher_core.errors import StoreUnavailable

__all__ = ["VERSION", "migrate"]

_SERVICE: Final = "00000000-0000-0000-0000-000000000000"

#: Seconds that a migration waits for another node's.
_PATIENCE: Final = 60.0

#: Two who create the schema at the same moment: one of them gets one of these, and looks again.
_RACED: Final = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateSchema,
    psycopg.errors.SerializationFailure,
)

_CREATE: Final = (
    "CREATE SCHEMA IF NOT EXISTS qpher",
    """CREATE TABLE IF NOT EXISTS qpher.schema_version (
        one boolean PRIMARY KEY CHECK (one),
        version integer NOT NULL
    )""",
    "INSERT INTO qpher.schema_version VALUES (true, 0) ON CONFLICT DO NOTHING",
)

_OWN: Final = "tenant_id = current_setting('app.tenant', true)"


def migrate(url: str) -> int:
    """Bring the schema up to date; safe when several processes do it at once.

    Args:
        url: the database, for the role that owns the tables or may create them.

    Returns:
        The version that it is at now.

    Raises:
        StoreUnavailable: the database was made by a newer version, does not keep text in UTF-8,
            or does not answer.
        ValidationError: the URL is none.
    """
    conninfo = conninfo_of(url)
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            _check_encoding(connection)
            _create(connection)
            return _apply(connection)
    except psycopg.Error as error:
        raise StoreUnavailable(f"the schema cannot be migrated: {error}") from error


def _check_encoding(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute("SELECT current_setting('server_encoding')").fetchone()
    if row != ("UTF8",):
        raise StoreUnavailable("the database must have the encoding UTF8")


def _create(connection: psycopg.Connection[Any]) -> None:
    """Create what the migrations are counted in, which all of them lock."""
    ends = time.monotonic() + _PATIENCE
    while True:
        try:
            with connection.transaction():
                for statement in _CREATE:
                    connection.execute(statement)
        except _RACED:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)
        else:
            return


def _apply(connection: psycopg.Connection[Any]) -> int:
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{_PATIENCE:g}s",))
        row = connection.execute("SELECT version FROM qpher.schema_version FOR UPDATE").fetchone()
        done: int = row[0] if row else 0
        if done > VERSION:
            raise StoreUnavailable(
                f"the database is at version {done} of the schema; this one knows {VERSION}"
            )
        for migration in _MIGRATIONS[done:]:
            for statement in migration():
                connection.execute(statement)
        connection.execute("UPDATE qpher.schema_version SET version = %s", (VERSION,))
    return VERSION


def _keys_table(table: str, references: str) -> Sequence[str]:
    return (
        f"""CREATE TABLE qpher.{table} (
            tenant_id text COLLATE "C" NOT NULL {references},
            name text COLLATE "C" NOT NULL,
            algorithm text COLLATE "C" NOT NULL,
            version bigint NOT NULL CHECK (version >= 1),
            state text NOT NULL CHECK (state IN
                ('active', 'suspended', 'retired', 'compromised', 'archived', 'destroyed')),
            public_key bytea NOT NULL,
            created_at text NOT NULL,
            changed_at text NOT NULL,
            reason text NOT NULL,
            revision bigint NOT NULL CHECK (revision >= 1),
            kek_id text COLLATE "C" NOT NULL,
            sealed bytea,
            compromised_at text,
            PRIMARY KEY (tenant_id, name, algorithm, version),
            CHECK ((sealed IS NULL) = (state = 'destroyed'))
        )""",
        f"""CREATE UNIQUE INDEX {table}_one_active
            ON qpher.{table} (tenant_id, name, algorithm) WHERE state = 'active'""",
        f"CREATE INDEX {table}_kek ON qpher.{table} (kek_id) WHERE sealed IS NOT NULL",
        *_fixed(
            table, "DELETE OR UPDATE OF tenant_id, name, algorithm, version, public_key, created_at"
        ),
        f"""CREATE TRIGGER {table}_compromised BEFORE UPDATE ON qpher.{table}
            FOR EACH ROW WHEN (OLD.compromised_at IS NOT NULL
                AND NEW.compromised_at IS DISTINCT FROM OLD.compromised_at)
            EXECUTE FUNCTION qpher.refuse()""",
        *_guarded(table),
        f"""GRANT SELECT, INSERT,
            UPDATE (state, changed_at, reason, revision, kek_id, sealed, compromised_at)
            ON qpher.{table} TO {NODES}""",
        # Walks from one id to the next in the index instead of reading every record.
        f"""CREATE VIEW qpher.{table}_keks AS
            WITH RECURSIVE step (kek_id) AS (
                (SELECT kek_id FROM qpher.{table} WHERE sealed IS NOT NULL
                    ORDER BY kek_id LIMIT 1)
                UNION ALL
                SELECT (SELECT k.kek_id FROM qpher.{table} AS k
                    WHERE k.sealed IS NOT NULL AND k.kek_id > step.kek_id
                    ORDER BY k.kek_id LIMIT 1)
                FROM step WHERE step.kek_id IS NOT NULL)
            SELECT kek_id FROM step WHERE kek_id IS NOT NULL""",
        f"GRANT SELECT ON qpher.{table}_keks TO {NODES}",
    )


def _fixed(table: str, events: str = "DELETE OR UPDATE") -> Sequence[str]:
    """Refuse, to whoever, what the log and the keys never need."""
    return (
        f"""CREATE TRIGGER {table}_fixed BEFORE {events} ON qpher.{table}
            FOR EACH ROW EXECUTE FUNCTION qpher.refuse()""",
        f"""CREATE TRIGGER {table}_stays BEFORE TRUNCATE ON qpher.{table}
            FOR EACH STATEMENT EXECUTE FUNCTION qpher.refuse()""",
    )


def _guarded(table: str, read: str = _OWN, write: str = _OWN) -> Sequence[str]:
    """Hold statements to the rows of the tenant of their transaction."""
    return (
        f"ALTER TABLE qpher.{table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY {table}_read ON qpher.{table} FOR SELECT USING ({read})",
        f"CREATE POLICY {table}_add ON qpher.{table} FOR INSERT WITH CHECK ({write})",
        f"""CREATE POLICY {table}_change ON qpher.{table} FOR UPDATE
            USING ({write}) WITH CHECK ({write})""",
        f"CREATE POLICY {table}_remove ON qpher.{table} FOR DELETE USING ({write})",
    )


def _first() -> Sequence[str]:
    return (
        f"GRANT USAGE ON SCHEMA qpher TO {NODES}",
        f"GRANT SELECT ON qpher.schema_version TO {NODES}",
        """CREATE FUNCTION qpher.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION '% of %: never', TG_OP, TG_TABLE_NAME; END $$""",
        # The directory of tenants can be read: a session begins with a name.
        """CREATE TABLE qpher.tenants (
            tenant_id text COLLATE "C" PRIMARY KEY,
            name text COLLATE "C" NOT NULL UNIQUE,
            plan text,
            status text NOT NULL CHECK (status IN ('active', 'suspended')),
            created_at text NOT NULL,
            updated_at text NOT NULL
        )""",
        *_guarded("tenants", read="true"),
        f"GRANT SELECT, INSERT, UPDATE (plan, status, updated_at) ON qpher.tenants TO {NODES}",
        *_keys_table("key_versions", "REFERENCES qpher.tenants (tenant_id)"),
        *_keys_table("service_keys", ""),
        """CREATE TABLE qpher.audit_entries (
            tenant_id text COLLATE "C" NOT NULL,
            seq bigint NOT NULL CHECK (seq >= 0),
            body bytea NOT NULL,
            hash bytea NOT NULL CHECK (length(hash) = 32),
            nodes bytea NOT NULL,
            PRIMARY KEY (tenant_id, seq)
        )""",
        *_fixed("audit_entries"),
        *_guarded("audit_entries"),
        f"GRANT SELECT, INSERT ON qpher.audit_entries TO {NODES}",
        # Every commit for a tenant locks its row here; that of the service is there already.
        """CREATE TABLE qpher.audit_heads (
            tenant_id text COLLATE "C" PRIMARY KEY,
            size bigint NOT NULL,
            hash bytea NOT NULL CHECK (length(hash) = 32),
            peaks bytea NOT NULL
        ) WITH (fillfactor = 50)""",
        *_guarded("audit_heads"),
        f"GRANT SELECT, INSERT, UPDATE (size, hash, peaks) ON qpher.audit_heads TO {NODES}",
        """CREATE TABLE qpher.audit_anchors (
            tenant_id text COLLATE "C" NOT NULL,
            size bigint NOT NULL CHECK (size >= 1),
            time text NOT NULL,
            note text NOT NULL,
            PRIMARY KEY (tenant_id, size)
        )""",
        *_fixed("audit_anchors"),
        *_guarded("audit_anchors"),
        f"GRANT SELECT, INSERT ON qpher.audit_anchors TO {NODES}",
        """CREATE VIEW qpher.logs_to_anchor AS
            SELECT tenant_id FROM qpher.audit_heads AS head WHERE size > coalesce(
                (SELECT max(size) FROM qpher.audit_anchors AS a
                    WHERE a.tenant_id = head.tenant_id), 0)""",
        f"GRANT SELECT ON qpher.logs_to_anchor TO {NODES}",
        """CREATE TABLE qpher.anchor_statements (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            note text NOT NULL
        )""",
        *_fixed("anchor_statements"),
        f"GRANT SELECT, INSERT ON qpher.anchor_statements TO {NODES}",
        # The rules of the service (no tenant) hold for every tenant, so all may read them.
        """CREATE TABLE qpher.policies (
            tenant_id text COLLATE "C" NOT NULL,
            revision bigint NOT NULL CHECK (revision >= 1),
            rules text NOT NULL,
            PRIMARY KEY (tenant_id, revision)
        )""",
        *_fixed("policies"),
        *_guarded(
            "policies",
            read=f"{_OWN} OR tenant_id = ''",
            write=f"(CASE tenant_id WHEN '' THEN '{_SERVICE}' ELSE tenant_id END)"
            " = current_setting('app.tenant', true)",
        ),
        f"GRANT SELECT, INSERT ON qpher.policies TO {NODES}",
        """CREATE TABLE qpher.api_keys (
            key_id text COLLATE "C" PRIMARY KEY,
            tenant_id text COLLATE "C" NOT NULL REFERENCES qpher.tenants (tenant_id),
            name text COLLATE "C" NOT NULL,
            scopes text NOT NULL,
            version bigint NOT NULL CHECK (version >= 1),
            created_at text NOT NULL,
            expires_at text,
            revoked_at text,
            last_used_at text,
            secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
            UNIQUE (tenant_id, name, version)
        )""",
        *_fixed(
            "api_keys",
            "DELETE OR UPDATE OF key_id, tenant_id, name, scopes, version, created_at, secret_hash",
        ),
        """CREATE TRIGGER api_keys_revoked BEFORE UPDATE ON qpher.api_keys
            FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL
                AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
            EXECUTE FUNCTION qpher.refuse()""",
        *_guarded("api_keys"),
        f"""GRANT SELECT, INSERT, UPDATE (expires_at, revoked_at, last_used_at)
            ON qpher.api_keys TO {NODES}""",
        # How the tenant of a request becomes known: one row of any tenant, by its id alone.
        """CREATE FUNCTION qpher.api_key(text) RETURNS SETOF qpher.api_keys
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = qpher, pg_temp
            AS 'SELECT * FROM qpher.api_keys WHERE key_id = $1'""",
        "REVOKE ALL ON FUNCTION qpher.api_key(text) FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION qpher.api_key(text) TO {NODES}",
        """CREATE TABLE qpher.idempotency (
            tenant_id text COLLATE "C" NOT NULL,
            key_hash bytea NOT NULL CHECK (length(key_hash) = 32),
            fingerprint bytea NOT NULL,
            request_id text NOT NULL,
            created_at text COLLATE "C" NOT NULL,
            answer bytea,
            PRIMARY KEY (tenant_id, key_hash)
        )""",
        "CREATE INDEX idempotency_age ON qpher.idempotency (tenant_id, created_at)",
        *_guarded("idempotency"),
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON qpher.idempotency TO {NODES}",
        "CREATE TABLE qpher.intents (id text PRIMARY KEY, entries text NOT NULL)",
        f"GRANT SELECT, INSERT, DELETE ON qpher.intents TO {NODES}",
        # Tells whether a commit without an entry, whose connection was lost, took place.
        """CREATE TABLE qpher.commit_marks (
            tenant_id text COLLATE "C" NOT NULL,
            id text NOT NULL,
            made_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant_id, id)
        )""",
        *_guarded("commit_marks"),
        f"GRANT SELECT, INSERT, DELETE ON qpher.commit_marks TO {NODES}",
    )


def _bases() -> Sequence[str]:
    """Where logs begin whose first entries were moved out; only those may be removed."""
    return (
        """CREATE TABLE qpher.audit_bases (
            tenant_id text COLLATE "C" PRIMARY KEY,
            size bigint NOT NULL CHECK (size >= 1),
            hash bytea NOT NULL CHECK (length(hash) = 32),
            peaks bytea NOT NULL,
            uses bytea NOT NULL,
            segment bytea NOT NULL CHECK (length(segment) = 32)
        )""",
        """CREATE FUNCTION qpher.check_base() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NOT EXISTS (SELECT 1 FROM qpher.audit_anchors AS a
                        WHERE a.tenant_id = NEW.tenant_id AND a.size = NEW.size)
                    OR (TG_OP = 'UPDATE' AND (NEW.size <= OLD.size
                        OR NEW.tenant_id <> OLD.tenant_id)) THEN
                    RAISE EXCEPTION 'a log begins at an anchor, and never earlier again';
                END IF;
                RETURN NEW;
            END $$""",
        """CREATE TRIGGER audit_bases_anchored BEFORE INSERT OR UPDATE ON qpher.audit_bases
            FOR EACH ROW EXECUTE FUNCTION qpher.check_base()""",
        *_fixed("audit_bases", "DELETE"),
        *_guarded("audit_bases"),
        f"""GRANT SELECT, INSERT, UPDATE (size, hash, peaks, uses, segment)
            ON qpher.audit_bases TO {NODES}""",
        """CREATE FUNCTION qpher.check_moved() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NOT EXISTS (SELECT 1 FROM qpher.audit_bases AS b
                        WHERE b.tenant_id = OLD.tenant_id AND OLD.seq < b.size) THEN
                    RAISE EXCEPTION 'audit entries that were not moved out: never';
                END IF;
                RETURN OLD;
            END $$""",
        "DROP TRIGGER audit_entries_fixed ON qpher.audit_entries",
        """CREATE TRIGGER audit_entries_fixed BEFORE UPDATE ON qpher.audit_entries
            FOR EACH ROW EXECUTE FUNCTION qpher.refuse()""",
        """CREATE TRIGGER audit_entries_stay BEFORE DELETE ON qpher.audit_entries
            FOR EACH ROW EXECUTE FUNCTION qpher.check_moved()""",
        f"GRANT DELETE ON qpher.audit_entries TO {NODES}",
    )


_MIGRATIONS: Final[Sequence[Callable[[], Sequence[str]]]] = (_first, _bases)

#: The version of the schema that this code works with.
VERSION: Final = len(_MIGRATIONS)
