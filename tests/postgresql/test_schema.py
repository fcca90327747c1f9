# SPDX-License-Identifier: Apache-2.0
"""Migrations: by several at once, cut short, of another version; roles and addresses."""

import secrets
import subprocess
import sys
import threading
import time

import psycopg
import pytest
from psycopg import sql

import qpher_core
from qpher_backends.postgres import PostgresStore, migrate, open_store, schema
from qpher_core.errors import StoreUnavailable, ValidationError
from tests.postgres import _NODE, _OWNER, server
from tests.postgresql.conftest import Prompt

MIGRATE = [sys.executable, "-m", "qpher_backends.postgres", "migrate"]


@pytest.fixture
def empty() -> str:
    """Make a database without tables and return its name."""
    name = f"e_{secrets.token_hex(8)}"
    server().create_database(name)
    return name


def test_eight_processes_migrate_one_database(empty: str) -> None:
    """All succeed, the schema is made once, and a node works on it."""
    url = server().url(empty, _OWNER)
    processes = [
        subprocess.Popen(
            [*MIGRATE, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(8)
    ]
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert {process.returncode for process in processes} == {0}, answers
    assert set(answers) == {f"the schema is at version {schema.VERSION}\n"}
    with qpher_core.open(server().url(empty)) as kms:
        kms.tenants.create("acme")
        assert kms.session("acme", actor="test").keys.generate("ML-KEM-768").version == 1


def test_a_migration_that_is_cut_is_begun_again(empty: str) -> None:
    """Whenever its connection is killed, the schema is made later, whole."""
    url = server().url(empty, _OWNER)
    stop = threading.Event()

    def kill() -> None:
        with server().connect() as superuser:
            while not stop.is_set():
                superuser.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND usename = %s",
                    (empty, _OWNER),
                )
                time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        cut = 0
        for _ in range(8):
            try:
                migrate(url)
            except StoreUnavailable:
                cut += 1
        assert cut > 0
    finally:
        stop.set()
        killer.join()
    assert migrate(url) == schema.VERSION
    assert migrate(url) == schema.VERSION
    PostgresStore(server().url(empty)).close()


def test_a_database_that_was_not_migrated_is_refused(empty: str) -> None:
    """With the command that makes its tables."""
    with pytest.raises(StoreUnavailable, match=r"qpher_backends\.postgres migrate URL"):
        PostgresStore(server().url(empty))


@pytest.mark.parametrize(("version", "why"), [(0, "migrate"), (99, "this one knows")])
def test_another_version_is_refused(url: str, superuser: Prompt, version: int, why: str) -> None:
    """An older schema asks for the migration; a newer one is left alone."""
    superuser.execute("UPDATE schema_version SET version = %s", (version,))
    try:
        with pytest.raises(StoreUnavailable, match=why):
            PostgresStore(url)
    finally:
        superuser.execute("UPDATE schema_version SET version = %s", (schema.VERSION,))


def test_a_newer_schema_is_not_migrated(database: str, superuser: Prompt) -> None:
    """Nor does the migration of an older program change anything."""
    superuser.execute("UPDATE schema_version SET version = 99")
    try:
        with pytest.raises(StoreUnavailable, match="at version 99"):
            migrate(server().url(database, _OWNER))
    finally:
        superuser.execute("UPDATE schema_version SET version = %s", (schema.VERSION,))


def test_another_encoding_is_refused() -> None:
    """A database that cannot hold every name is refused."""
    name = f"e_{secrets.token_hex(8)}"
    with server().connect() as superuser:
        superuser.execute(
            sql.SQL(
                "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
            ).format(sql.Identifier(name), sql.Identifier(_OWNER))
        )
    with pytest.raises(StoreUnavailable, match="UTF8"):
        migrate(server().url(name, _OWNER))


def test_a_node_cannot_migrate(empty: str) -> None:
    """The role of the nodes may not create anything."""
    with pytest.raises(StoreUnavailable, match="permission denied"):
        migrate(server().url(empty, _NODE))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/d?deadline=0",
        "postgresql://h/d?deadline=x",
        "postgresql://h/d?connections=0",
        "postgresql://h/d?no_such_parameter=1",
        "postgresql://[h/d",
        "postgresql://h/d\udc80",
        "postgresql:///d?host=/nowhere\udc80",
        "postgresql:///d?host=/nowhere%FF",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Parameters are checked, and the message names the URL without showing it."""
    with pytest.raises(ValidationError, match="url") as caught:
        open_store(url)
    assert url not in str(caught.value)


def test_parameters_reach_the_server_as_they_are(url: str) -> None:
    """Spaces and plus signs are what the URL says, as for libpq itself."""
    store = open_store(f"{url}&options=-c%20geqo=off%20-c%20application_name=a+b%2Bc")
    try:
        names = ("geqo", "application_name")
        values = [store.keys._run(None, f"SELECT current_setting('{n}')", ()) for n in names]
        assert values == [[("off",)], [("a+b+c",)]]
    finally:
        store.close()


def test_the_password_is_nowhere(url: str) -> None:
    """Neither the store nor an error shows the password of the URL."""
    with_password = url.replace("@", ":hunter2@", 1)
    store = open_store(with_password)
    assert "hunter2" not in repr(store)
    store.close()
    with pytest.raises(StoreUnavailable) as caught:
        open_store(with_password.replace("/q_", "/no_such_q_"))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.__cause__)


@pytest.mark.parametrize("url", ["postgresql//o:hunter2@h/d", "postgresql://o:hunter2%zz@h/d"])
def test_a_migration_does_not_show_the_password(url: str) -> None:
    """A URL that is mistyped is refused without being repeated."""
    done = subprocess.run([*MIGRATE, url], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "url is not one of PostgreSQL\n"


def test_a_protector_must_be_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database keeps no key encryption key, and no default invents one."""
    monkeypatch.delenv("QPHER_PROTECTOR")
    with pytest.raises(ValidationError, match="QPHER_PROTECTOR") as caught:
        qpher_core.open(url)
    assert caught.value.parameter == "protector"


def test_the_operators_statements_can_be_printed() -> None:
    """The command prints what makes the roles; they exist, as the server's superuser ran them."""
    printed = subprocess.run(
        [*MIGRATE[:-1], "roles", "--owner", "o", "--node", "n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.count("CREATE ROLE") == 3
    assert printed.count("NOBYPASSRLS") == 3
    with server().connect() as superuser:
        powers = superuser.execute(
            "SELECT bool_or(rolsuper OR rolbypassrls) FROM pg_roles WHERE rolname LIKE 'qpher%'"
        ).fetchone()
    assert powers == (False,)


def test_commits_do_not_become_asynchronous(url: str, superuser: Prompt) -> None:
    """A default of the database that acknowledges before writing does not count."""
    assert superuser.info.dbname.startswith("q_")
    name = sql.Identifier(superuser.info.dbname)
    superuser.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    try:
        store = PostgresStore(url)
        settings: list[object] = []
        store.commit(lambda w: settings.extend(w.keys._run(None, "SHOW synchronous_commit", ())))
        assert settings == [("on",)]
        store.close()
    finally:
        superuser.execute(sql.SQL("ALTER DATABASE {} RESET synchronous_commit").format(name))


def test_a_refused_role_says_so_at_once() -> None:
    """A wrong address or role is an error at once, not after the deadline."""
    start = time.monotonic()
    with pytest.raises(StoreUnavailable, match="does not exist"):
        open_store(server().url("postgres", "nobody_here"))
    assert time.monotonic() - start < 5
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server().url("postgres", "nobody_here"))
