# SPDX-License-Identifier: Apache-2.0
"""The store over one SQLite file: WAL, synchronous=FULL, any number of threads and processes."""

import contextlib
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from qpher_backends.closable import Closable
from qpher_backends.group_commit import GroupCommit
from qpher_backends.places import path_of
from qpher_backends.sql.access import ApiKeyTable, IdempotencyTable
from qpher_backends.sql.audit import AnchorTable, AuditTable, AuditWriter
from qpher_backends.sql.run import Row, Run, RunMany
from qpher_backends.sql.tables import IntentTable, KeyTable, PolicyTable, TenantTable
from qpher_backends.sqlite.foreign import check_database
from qpher_backends.sqlite.recent import (
    Mark,
    Recent,
    RecentKeys,
    RecentPolicies,
    RecentTenants,
)
from qpher_backends.sqlite.version import is_current
from qpher_backends.translated import Translated
from qpher_core.errors import StoreUnavailable

__all__ = ["SQLiteStore", "open_store"]

T = TypeVar("T")

_SCHEME: Final = "sqlite:///"
_CACHE_KIB: Final = 16_384  # of one connection; proofs of a long log read all over it
_BUSY_SECONDS: Final = 10.0
_IDLE_CONNECTIONS: Final = 16

_TRANSLATED: Final = Translated(sqlite3.Error, "database")


class _Writer:
    """Implements ``StoreWriter`` on the connection of a transaction."""

    def __init__(self, run: Run, run_many: RunMany) -> None:
        self.keys = KeyTable(run)
        self.audit = AuditWriter(run, run_many)
        self.tenants = TenantTable(run)
        self.policies = PolicyTable(run)
        self.anchors = AnchorTable(run)
        self.service_keys = KeyTable(run, "service_keys")
        self.intents = IntentTable(run)
        self.api_keys = ApiKeyTable(run)
        self.idempotency = IdempotencyTable(run)


class _Transaction:
    """Implements ``group_commit.Transaction``; jobs are savepoints of one transaction.

    A job that only reads and appends to the audit log, as most do, has nothing in the database
    to undo and makes no savepoint: each statement lets other threads run, and waits for them.
    """

    def __init__(
        self, connection: sqlite3.Connection, check: Callable[[], None], recent: Recent
    ) -> None:
        self._connection = connection
        self._check = check
        self._recent = recent
        self._writer = _Writer(self._execute, self._execute_many)
        self._saved = False

    def _execute(self, _: uuid.UUID | None, sql: str, values: Sequence[Any]) -> list[Row]:
        if not self._saved and not sql.startswith("SELECT"):
            self._recent.drop()
            self._connection.execute("SAVEPOINT job")
            self._saved = True
        return self._connection.execute(sql, values).fetchall()

    def _execute_many(self, _: uuid.UUID | None, sql: str, rows: Sequence[Row]) -> None:
        self._connection.executemany(sql, rows)

    def begin(self) -> _Writer:
        self._check()
        with _TRANSLATED:
            self._connection.execute("BEGIN IMMEDIATE")
            ((version,),) = self._connection.execute("PRAGMA data_version")
        if not self._recent.begin(version):
            self._writer.audit.begin()
        return self._writer

    def attempt(self, work: Callable[[], None]) -> None:
        undo = self._writer.audit.mark()
        self._saved = False
        with _TRANSLATED:
            try:
                work()
            except BaseException as error:
                if isinstance(error, sqlite3.Error) or not self._connection.in_transaction:
                    raise  # the database itself failed: nothing of this transaction may count
                undo()
                self._release(rolled_back=True)
                raise
            self._release(rolled_back=False)

    def _release(self, *, rolled_back: bool) -> None:
        if not self._saved:
            return
        if rolled_back:
            self._connection.execute("ROLLBACK TO job")
        self._connection.execute("RELEASE job")

    def commit(self) -> None:
        with _TRANSLATED:
            self._writer.audit.flush()
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        self._recent.drop()
        self._writer.audit.begin()
        # A failing rollback leaves the transaction uncommitted, which is what is wanted.
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


class SQLiteStore(Closable):
    """Implements ``Store``. Not usable in a process forked from the one that opened it."""

    readers_wait = False
    local = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path.absolute()
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._write_connection = self._open_database()
        self._file = os.stat(self._path)  # noqa: PTH116 - compared with later ones
        self._recent = Recent()
        transaction = _Transaction(self._write_connection, self._check_writable, self._recent)
        self._group_commit = GroupCommit[_Writer](transaction)
        self.keys = RecentKeys(self._read, self._recent)
        self.audit = AuditTable(self._read_here)
        self.tenants = RecentTenants(self._read, self._recent)
        self.policies = RecentPolicies(self._read, self._recent)
        self.anchors = AnchorTable(self._read_here)
        self.service_keys = KeyTable(self._read, "service_keys")
        self.intents = IntentTable(self._read)
        self.api_keys = ApiKeyTable(self._read)
        self.idempotency = IdempotencyTable(self._read)

    def __repr__(self) -> str:
        return f"<SQLiteStore {str(self._path)!r}>"

    @property
    def default_protector(self) -> str:
        """A key encryption key in a file beside the database."""
        return f"file://{self._path}.kek"

    def commit(
        self,
        work: Callable[[_Writer], T],
        *,
        tenant_id: uuid.UUID | None = None,  # noqa: ARG002 - one lock for all
    ) -> T:
        """Run ``work`` in one durable transaction, shared with concurrent callers."""
        self._check_usable()
        return self._group_commit(work)

    def lately(self) -> Mark:
        """Let this thread read rows of a moment ago; what it commits must ask if they hold."""
        return Mark(self._recent)

    def close(self) -> None:
        """Close all connections, once the commit under way is done."""
        with self._lock:
            self._closed = True
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()
        # In a process that was forked nobody commits, and the lock may never be given back.
        with contextlib.nullcontext() if self._forked else self._group_commit.alone():
            self._write_connection.close()

    def _open_database(self) -> sqlite3.Connection:
        try:
            # Created here, because SQLite would create it with the umask's permissions.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailable(f"cannot open {self._path}: {error.strerror}") from error
        try:
            connection = self._connect()
        except StoreUnavailable as error:
            raise StoreUnavailable(f"cannot open {self._path}: {error}") from error
        try:
            with _TRANSLATED:
                check_database(connection, self._path)
                connection.execute("PRAGMA journal_mode = WAL")
                if not is_current(connection):
                    from qpher_backends.sqlite.schema import migrate  # noqa: PLC0415 - see version

                    migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        with _TRANSLATED:
            # autocommit: transactions begin and end in this file alone
            connection = sqlite3.connect(
                f"{self._path.as_uri()}?mode=rw",  # never makes a file that is gone
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        return connection

    def _read(self, _: uuid.UUID | None, sql: str, values: Sequence[Any]) -> list[Row]:
        """Run one query on a borrowed connection."""
        self._check_usable()
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect_again()
        try:
            with _TRANSLATED:
                return connection.execute(sql, values).fetchall()
        finally:
            self._give_back(connection)

    def _read_here(self, tenant: uuid.UUID | None, sql: str, values: Sequence[Any]) -> list[Row]:
        """Run one query of the log, which must not be one that nobody else can see any more."""
        self._check_file()
        return self._read(tenant, sql, values)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            keep = not self._closed and len(self._idle) < _IDLE_CONNECTIONS
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def _connect_again(self) -> sqlite3.Connection:
        """Open one more connection, to the file that was opened first and to no other."""
        self._check_file()
        connection = self._connect()
        try:
            self._check_file()  # it may have been replaced just now
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_writable(self) -> None:
        """Refuse a commit that waited while the store was closed."""
        self._check_usable()
        self._check_file()

    def _check_file(self) -> None:
        """Refuse a database whose file was replaced or unlinked meanwhile."""
        try:
            now = os.stat(self._path)  # noqa: PTH116
        except OSError as error:
            raise StoreUnavailable(f"{self._path} is gone: {error.strerror}") from error
        if (now.st_dev, now.st_ino) != (self._file.st_dev, self._file.st_ino):
            raise StoreUnavailable(f"{self._path} was replaced while it was open")


def open_store(url: str) -> SQLiteStore:
    """Open ``sqlite:///relative/path`` or ``sqlite:////absolute/path``; the entry point."""
    return SQLiteStore(path_of(url, _SCHEME, "sqlite:///relative/path or sqlite:////absolute/path"))
