# SPDX-License-Identifier: Apache-2.0
"""Row-level security refuses by itself, and whoever it does not bind is refused."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

import qpher_core
from qpher_backends.postgres import PostgresStore, store, transaction
from qpher_backends.postgres.roles import _OF_TENANTS
from qpher_core.errors import StoreUnavailable, ValidationError
from qpher_core.protocols import StoreWriter
from tests.postgres import _NODE, _OWNER, server
from tests.postgresql.conftest import Prompt
from tests.records import append, new_record
from tests.world import make_goods

#: What a transaction sets at its beginning; here, by hand.
SCOPE = "SELECT set_config('app.tenant', %s, true)"

#: Tables whose rows only their tenant reads. The directory of tenants is read by all.
SECRET = [table for table in _OF_TENANTS if table not in {"tenants", "service_keys"}]


@pytest.fixture
def tenants(url: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Make two tenants that have one of everything, and return their ids."""
    with qpher_core.open(url) as kms:
        ids = []
        for name in ("acme", "rival"):
            tenant = kms.tenants.create(name)
            make_goods(kms.session(name, actor="test"))
            kms.policies.set('[{"rule":"plan"}]', tenant=name)
            kms.audit.move_out(tmp_path, tenant.id)
            kms.api_keys.create(name, name="one")
            ids.append(str(tenant.id))
        yield ids[0], ids[1]


def _as_tenant(node: Prompt, tenant: str, sql: str, values: Sequence[Any] = ()) -> None:
    with node.transaction():
        node.execute(SCOPE, (tenant,))
        node.execute(sql, values)


def _count(node: Prompt, table: str) -> int:
    row = node.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


@pytest.mark.parametrize("table", SECRET)
def test_without_a_tenant_nothing_is_seen(
    tenants: tuple[str, str], node: Prompt, superuser: Prompt, table: str
) -> None:
    """A statement outside of a tenant's transaction finds no row of any tenant."""
    own = "tenant_id <> ''" if table == "policies" else "true"  # the service's rules are read
    assert _count(node, f"{table} WHERE {own}") == 0
    if table not in {"idempotency", "commit_marks"}:
        assert _count(superuser, f"{table} WHERE {own}") > 0


@pytest.mark.parametrize("table", SECRET)
def test_a_statement_without_a_condition_sees_its_tenant_alone(
    tenants: tuple[str, str], node: Prompt, table: str
) -> None:
    """Without the tenant in its WHERE a query gives the rows of its transaction's tenant."""
    acme, _ = tenants
    with node.transaction():
        node.execute(SCOPE, (acme,))
        rows = node.execute(f"SELECT tenant_id FROM {table}").fetchall()
    assert {row[0] for row in rows} <= {acme, ""}


def test_the_other_tenants_rows_cannot_be_written(tenants: tuple[str, str], node: Prompt) -> None:
    """Changing everything changes one's own; a row for another tenant is refused."""
    acme, rival = tenants
    with node.transaction():
        node.execute(SCOPE, (acme,))
        changed = node.execute("UPDATE tenants SET plan = 'free' RETURNING tenant_id").fetchall()
        assert changed == [(acme,)]
        changed = node.execute(
            "UPDATE key_versions SET reason = 'x' RETURNING tenant_id"
        ).fetchall()
        assert {row[0] for row in changed} == {acme}
    inserts = [
        ("INSERT INTO policies VALUES (%s, 99, '[]')", (rival,)),
        ("INSERT INTO policies VALUES ('', 99, '[]')", ()),
        ("INSERT INTO audit_anchors VALUES (%s, 99, '', '')", (rival,)),
        ("INSERT INTO audit_entries VALUES (%s, 99, '', %s, '')", (rival, bytes(32))),
        ("INSERT INTO tenants VALUES (%s, 'new', NULL, 'active', '', '')", (str(uuid.uuid4()),)),
    ]
    for sql, values in inserts:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            _as_tenant(node, acme, sql, values)


def _unscoped(run: Callable[..., Any]) -> Callable[..., Any]:
    """Disable our own scoping: the condition on the tenant holds for every row."""

    def all_rows(connection: Any, sql: str, values: Sequence[Any]) -> Any:
        return run(connection, sql.replace("tenant_id = ?", "(tenant_id = ? OR true)"), values)

    return all_rows


def test_alone_it_hides_the_other_tenant(
    url: str, tenants: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the conditions of our own statements disabled, every read stays within its tenant."""
    acme, rival = map(uuid.UUID, tenants)
    monkeypatch.setattr(store, "run_on", _unscoped(store.run_on))
    opened = PostgresStore(url)
    for own, other in ((acme, rival), (rival, acme)):
        assert {r.key.ref.tenant_id for r in opened.keys.find(own)} == {own}
        assert {key.key.tenant_id for key in opened.api_keys.find(own)} == {own}
        bodies = [entry.fields["tenant"] for entry in opened.audit.read(own)]
        assert bodies
        assert set(bodies) == {str(own)}
        assert opened.audit.head(own) != opened.audit.head(other)
        assert [anchor.note for anchor in opened.anchors.read(own)] != [
            anchor.note for anchor in opened.anchors.read(other)
        ]
    opened.close()


def test_alone_it_refuses_writes_for_the_other_tenant(
    url: str, tenants: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With our own checks and conditions disabled, a transaction changes its tenant's rows only."""
    acme, rival = map(uuid.UUID, tenants)
    monkeypatch.setattr(transaction, "run_on", _unscoped(transaction.run_on))
    monkeypatch.setattr(transaction.Transaction, "_enter", lambda *_args, **_named: None)
    opened = PostgresStore(url)
    theirs = opened.keys.find(rival)

    def insert(writer: StoreWriter) -> None:
        writer.keys.insert(new_record(rival, 1, name="planted"))

    def log(writer: StoreWriter) -> None:
        append(writer, rival)

    def rules(writer: StoreWriter) -> None:
        writer.policies.insert(qpher_core.PolicyDocument(rival, 7, "[]"))

    for work in (insert, log, rules):
        with pytest.raises(StoreUnavailable, match=r"row-level security|another|next place"):
            opened.commit(work, tenant_id=acme)
    assert opened.keys.find(rival) == theirs
    opened.close()


def test_work_for_one_tenant_does_not_touch_another(url: str, tenants: tuple[str, str]) -> None:
    """Before any statement is sent, and nothing of it stays."""
    acme, rival = map(uuid.UUID, tenants)
    opened = PostgresStore(url)
    before = opened.audit.head(acme)

    def work(writer: StoreWriter) -> None:
        append(writer, acme)
        writer.keys.get(opened.keys.find(rival)[0].key.ref)

    with pytest.raises(RuntimeError, match="another"):
        opened.commit(work, tenant_id=acme)
    assert opened.audit.head(acme) == before
    opened.close()


NEVER = [
    "DELETE FROM key_versions",
    "UPDATE audit_entries SET body = ''",
    "UPDATE key_versions SET public_key = ''",
    "UPDATE key_versions SET tenant_id = ''",
    "UPDATE audit_anchors SET note = ''",
    "UPDATE policies SET rules = ''",
    "UPDATE tenants SET name = ''",
    "DELETE FROM tenants",
    "DELETE FROM api_keys",
    "TRUNCATE audit_entries",
    "ALTER TABLE key_versions DISABLE ROW LEVEL SECURITY",
    "DROP POLICY key_versions_read ON key_versions",
    "DROP TRIGGER key_versions_fixed ON key_versions",
    "CREATE TABLE mine (id int)",
    f"SET ROLE {_OWNER}",
    "UPDATE schema_version SET version = 0",
]


@pytest.mark.parametrize("sql", NEVER)
def test_what_a_node_never_may(tenants: tuple[str, str], node: Prompt, sql: str) -> None:
    """The node's role lacks the privilege for what the store never does."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _as_tenant(node, tenants[0], sql)


@pytest.mark.parametrize("sql", [sql for sql in NEVER[:6] if "tenants" not in sql])
def test_what_nobody_may(tenants: tuple[str, str], superuser: Prompt, sql: str) -> None:
    """Triggers refuse the same to those whom privileges do not bind."""
    with pytest.raises(psycopg.errors.RaiseException, match="never"):
        superuser.execute(sql)


def test_only_moved_entries_are_deleted(
    tenants: tuple[str, str], node: Prompt, superuser: Prompt
) -> None:
    """A trigger refuses it to node and owner; a log begins at an anchor and never earlier again."""
    with pytest.raises(psycopg.errors.RaiseException, match="never"):
        _as_tenant(node, tenants[0], "DELETE FROM audit_entries")
    with pytest.raises(psycopg.errors.RaiseException, match="never"):
        superuser.execute("DELETE FROM audit_entries")
    for size in ("size - 1", "size + 1", "size"):
        with pytest.raises(psycopg.errors.RaiseException, match="begins at an anchor"):
            _as_tenant(node, tenants[0], f"UPDATE audit_bases SET size = {size}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _as_tenant(node, tenants[0], "DELETE FROM audit_bases")
    with pytest.raises(psycopg.errors.RaiseException, match="never"):
        superuser.execute("DELETE FROM audit_bases")


def test_a_role_that_is_not_bound_is_refused(database: str, superuser: Prompt) -> None:
    """Neither a superuser, nor one with BYPASSRLS, nor the owner or a member of those is served."""
    with pytest.raises(ValidationError, match="superuser"):
        PostgresStore(server().url(database, "postgres"))
    with pytest.raises(ValidationError, match="owns the tables"):
        PostgresStore(server().url(database, _OWNER))
    name, group = f"r{uuid.uuid4().hex}", f"g{uuid.uuid4().hex}"
    superuser.execute(f"CREATE ROLE {group} NOLOGIN BYPASSRLS")
    for powers, why in (
        ("BYPASSRLS", "BYPASSRLS"),
        (f"IN ROLE {group}", "may become"),
        (f"IN ROLE {_OWNER}", "owns the tables"),
    ):
        superuser.execute(f"CREATE ROLE {name} LOGIN {powers}")
        superuser.execute(f"GRANT qpher_node TO {name}")
        with pytest.raises(ValidationError, match=why):
            PostgresStore(server().url(database, name))
        superuser.execute(f"DROP ROLE {name}")
    superuser.execute(f"DROP ROLE {group}")


def test_a_database_without_its_policies_is_refused(url: str, superuser: Prompt) -> None:
    """When row-level security is switched off for one table, the store does not open."""
    superuser.execute("ALTER TABLE audit_heads DISABLE ROW LEVEL SECURITY")
    try:
        with pytest.raises(ValidationError, match="switched off"):
            PostgresStore(url)
    finally:
        superuser.execute("ALTER TABLE audit_heads ENABLE ROW LEVEL SECURITY")
    PostgresStore(url).close()


def test_every_table_with_a_tenant_is_guarded(superuser: Prompt) -> None:
    """No table that has a tenant lacks its policies, and the store knows of each."""
    rows = superuser.execute(
        "SELECT c.relname, c.relrowsecurity FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
        " WHERE c.relnamespace = 'qpher'::regnamespace AND c.relkind = 'r'"
    ).fetchall()
    assert dict(rows) == dict.fromkeys(_OF_TENANTS, True)


def test_a_lookup_of_an_api_key_needs_its_id(tenants: tuple[str, str], node: Prompt) -> None:
    """The one door between tenants gives one row for one id, and none for a pattern."""
    assert node.execute("SELECT * FROM api_key('%')").fetchall() == []
    assert node.execute("SELECT * FROM api_key(NULL)").fetchall() == []
    assert _NODE in repr(node.info.user)
