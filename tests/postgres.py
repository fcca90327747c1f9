# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for the tests: started once, in a temporary directory, and stopped.

The first who asks for it starts it; other processes find it through the environment. Each test
has a database of its own, copied from one that is migrated already.
"""

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from qpher_backends.postgres.roles import role_statements
from qpher_backends.postgres.schema import migrate

__all__ = ["MISSING", "Server", "database_url", "server"]

_BINARIES: Final = [Path(folder) for folder in os.get_exec_path()] + sorted(
    Path("/usr/lib/postgresql").glob("*/bin"), reverse=True
)
_FOUND: Final = next((folder for folder in _BINARIES if (folder / "initdb").exists()), None)

#: Why there is no server to be had, or None.
MISSING: Final = None if _FOUND else "PostgreSQL is not installed (Debian: postgresql-15)"

_TEMPLATE: Final = "qpher_template"
_SERVER: Final = "QPHER_TEST_POSTGRES"
_OWNER, _NODE = "qpher_owner", "qpher_node_1"

#: Everything survives the end of the server's processes, which is all that is tried, without
#: waiting for disks; only that of the machine would be another matter.
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum_naptime": "10s",
    "logging_collector": "off",
}


class Server:
    """One server of its own, below a directory.

    Attributes:
        folder: where its socket is.
    """

    def __init__(self, folder: Path, *, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make its files and the roles."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run(
            "initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        self.start()
        with self.connect() as connection:
            for statement in role_statements(owner=_OWNER, node=_NODE):
                connection.execute(statement)
        self.create_database(_TEMPLATE)
        migrate(self.url(_TEMPLATE, _OWNER))

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._as_server("postgres", "-D", str(self._data), f"-k{self.folder}", *options),
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt is for the tests alone
            )
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(600):
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError((self.folder / "log").read_text(errors="replace")[-2000:])

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: ``fast`` (transactions are rolled back) or ``immediate`` (as in a crash)."""
        if self._process is None:
            return
        signals = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        os.kill(self.pid, signals[mode])
        self._process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        """The process of the server itself."""
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def connect(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        """Connect as superuser."""
        return psycopg.connect(
            host=str(self.folder), user="postgres", dbname=database, autocommit=True
        )

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make an empty database, or a copy of another."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(_OWNER), sql.Identifier(template or "template0")
        )
        with self.connect() as connection:
            connection.execute(statement)

    def url(self, database: str, role: str = _NODE) -> str:
        """Return the URL of a database; that of a node unless another role is named."""
        return f"postgresql://{role}@/{database}?host={self.folder}"

    def fresh(self, name: str) -> str:
        """Make a migrated database and return its URL."""
        self.create_database(name, template=_TEMPLATE)
        return self.url(name)

    def empty(self, database: str) -> bool:
        """Delete everything from a migrated database; return False if somebody still uses it."""
        with self.connect(database) as connection:
            connection.execute("SET lock_timeout = '1s'")
            connection.execute("SET session_replication_role = replica")  # no triggers
            tables = connection.execute(
                "SELECT quote_ident(tablename) FROM pg_tables"
                " WHERE schemaname = 'qpher' AND tablename <> 'schema_version'"
            ).fetchall()
            names = ", ".join(f"qpher.{name}" for (name,) in tables)
            try:
                connection.execute(f"TRUNCATE {names} RESTART IDENTITY")
            except psycopg.errors.LockNotAvailable:
                return False
        return True

    def _run(self, *command: str) -> None:
        subprocess.run(self._as_server(*command), check=True, capture_output=True)

    @staticmethod
    def _as_server(program: str, *arguments: str) -> Sequence[str]:
        """Return a command of the server, which does not run as root."""
        assert _FOUND is not None, MISSING
        user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
        command = (str(_FOUND / program), *arguments)
        return (*user, *command) if os.geteuid() == 0 else command


def server() -> Server:
    """Return the server of this test run, started by the first who asks."""
    folder = os.environ.get(_SERVER)
    if folder is not None:
        return Server(Path(folder))
    place = Path(tempfile.mkdtemp(prefix="qpher-pg-"))
    place.chmod(0o755)
    made = Server(place / "server")
    made.create()
    os.environ[_SERVER] = str(made.folder)
    os.environ["QPHER_PROTECTOR"] = f"file://{place}/{secrets.token_hex(4)}.kek"
    pid = os.getpid()

    def end() -> None:
        if os.getpid() == pid:
            made.stop()
            shutil.rmtree(place, ignore_errors=True)

    atexit.register(end)
    return made


#: The databases that this process has made, by the folders that they belong to.
_made: dict[Path, str] = {}


def database_url(folder: Path) -> str:
    """Return the URL of the database that belongs to a folder; the same for the same one.

    A database whose folder is gone is emptied and used again.
    """
    marker = folder / "postgres-database"
    if marker.exists():
        return server().url(marker.read_text())
    running = server()
    gone = next((folder for folder in _made if not folder.exists()), None)
    name = None if gone is None else _made.pop(gone)
    if name is None or not running.empty(name):
        name = f"q_{secrets.token_hex(8)}"
        running.create_database(name, template=_TEMPLATE)
    marker.write_text(name)
    _made[folder] = name
    return running.url(name)
