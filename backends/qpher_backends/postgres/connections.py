# SPDX-License-Identifier: Apache-2.0
"""Connections to the database: borrowed for a transaction, each use with a deadline.

Not ``psycopg_pool``: after a failure it waits 1, 2, 4, ... seconds before it connects again, which
is longer than those wait who want to work; here whoever needs a connection makes it.
"""

import contextlib
import functools
import inspect
import math
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from qpher_backends.closable import Closable
from qpher_backends.sql.run import Row
from qpher_core.errors import StoreUnavailable, ValidationError
from qpher_core.permits import Permits

__all__ = [
    "Connection",
    "Connections",
    "Deadline",
    "conflicts",
    "conninfo_of",
    "in_words",
    "is_lost",
    "run_on",
]

T = TypeVar("T")

#: Seconds between two attempts to connect.
_PAUSE: Final = 0.05

#: Begins every transaction, so that nothing depends on the session: it may be another's in a
#: moment, behind a pooler. A server that lost its client must not keep the locks for ever.
_SCOPE: Final = (
    "SELECT set_config('app.tenant', %s, true), set_config('search_path', 'qpher', true),"
    " set_config('statement_timeout', %s, true),"
    " set_config('idle_in_transaction_session_timeout', %s, true),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
)


#: States of SQL in which a session ends: connection lost, shut down, idle for too long.
_GONE: Final = ("08", "57P", "25P03", "40003")


class Deadline:
    """A moment by which something must have happened."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; 0 when it is over."""
        return max(0.0, self._ends - time.monotonic())

    def __str__(self) -> str:
        return f"{self._seconds:g} s"


class Connection(psycopg.Connection[Row]):
    """A connection on which nothing takes longer than the deadline of who has borrowed it."""

    deadline: Deadline | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for the server, but not beyond the deadline.

        Whoever stops waiting in the middle has lost the connection.
        """
        left = math.inf if self.deadline is None else self.deadline.left
        try:
            return super().wait(gen, interval, left if timeout is None else min(left, timeout))
        except BaseException:
            self._abandon(gen)
            raise

    def _abandon(self, gen: PQGen[T]) -> None:
        """End what waits in the middle, or it wakes up when memory is cleared and fails there."""
        if inspect.getgeneratorstate(gen) == inspect.GEN_CLOSED:
            return  # it came to its end: the server answered with an error
        self.close()
        with contextlib.suppress(psycopg.Error):
            gen.close()

    def begin(self, tenant_id: uuid.UUID | None, *, how: str = "READ ONLY") -> None:
        """Begin a transaction of a tenant, to be sent with what follows."""
        self.execute(f"BEGIN {how}")
        self.scope(tenant_id)

    def scope(self, tenant_id: uuid.UUID | None) -> None:
        """Go on with the rows of another tenant."""
        limit = f"{math.ceil(self.deadline.left * 1000) + 1}ms" if self.deadline else "0"
        tenant = "" if tenant_id is None else str(tenant_id)
        self.execute(_SCOPE, (tenant, limit, limit))

    @property
    def lost(self) -> bool:
        """Whether it is of no use any more."""
        return self.closed or self.broken

    @property
    def idle(self) -> bool:
        """Whether it can be lent again."""
        return self.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


class Connections(Closable):
    """Lends connections, so many at once at most. Thread-safe."""

    def __init__(self, conninfo: str, most: int) -> None:
        super().__init__()
        self._conninfo = conninfo
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._free = Permits(most)

    def first(self, deadline: Deadline) -> None:
        """Connect once; an error says at once what is wrong with the address or the role."""
        self.give_back(self._lend(self._connect(deadline), deadline), counted=False)

    def take(self, deadline: Deadline) -> Connection:
        """Lend a connection, making it if need be, again and again until the deadline.

        Raises:
            StoreUnavailable: there is none to be had.
        """
        self._check_usable()
        if not self._free.take(deadline.left):
            raise StoreUnavailable(f"all connections are in use for {deadline}")
        try:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            return self._lend(connection or self._connect_until(deadline), deadline)
        except BaseException:
            self._free.give_back()
            raise

    def give_back(self, connection: Connection, *, counted: bool = True) -> None:
        """Take a connection back; close it unless it can be lent again."""
        if counted:
            self._free.give_back()
        with self._lock:
            keep = not self._closed and not connection.lost and connection.idle
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def discard(self, connection: Connection) -> None:
        """Take back a connection that failed; those that lie idle have failed with it."""
        connection.close()
        with self._lock:
            idle, self._idle = self._idle, []
        for other in idle:
            other.close()
        self.give_back(connection)

    def close(self) -> None:
        """Close all that are not lent now. Those of a parent process are left alone."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        if not self._forked:
            for connection in idle:
                connection.close()

    @staticmethod
    def _lend(connection: Connection, deadline: Deadline) -> Connection:
        connection.deadline = deadline
        return connection

    def _connect_until(self, deadline: Deadline) -> Connection:
        while True:
            try:
                return self._connect(deadline)
            except psycopg.OperationalError as error:
                if deadline.left <= _PAUSE:
                    raise StoreUnavailable(
                        f"no connection to the database within {deadline}: {in_words(error)}"
                    ) from error
                time.sleep(_PAUSE)
                self._check_usable()

    def _connect(self, deadline: Deadline) -> Connection:
        return Connection.connect(
            self._conninfo, autocommit=True, connect_timeout=max(2, math.ceil(deadline.left))
        )


def conninfo_of(url: str) -> str:
    """Return a URL as libpq takes it; the error of a wrong one does not repeat its password."""
    try:
        conninfo = make_conninfo(url)
        conninfo_to_dict(conninfo)
    except (psycopg.ProgrammingError, UnicodeError):
        raise ValidationError("url is not one of PostgreSQL", parameter="url") from None
    return conninfo


def conflicts(error: psycopg.Error) -> bool:
    """Return whether the database undid a transaction that may succeed when it is repeated."""
    return (error.sqlstate or "").startswith("40")


def is_lost(connection: Connection, error: psycopg.Error) -> bool:
    """Return whether an error says that the connection is gone, or that nobody answers on it."""
    if connection.lost:
        return True
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(_GONE)


def in_words(error: psycopg.Error) -> str:
    """Return what an error says, without the values of rows that its details may quote."""
    return error.diag.message_primary or (str(error).splitlines() or ["no answer"])[0]


@functools.lru_cache(512)
def _translated(sql: str) -> str:
    """Return a statement of ``qpher_backends.sql`` with psycopg's placeholders."""
    return sql.replace("%", "%%").replace("?", "%s")


def run_on(connection: Connection, sql: str, values: Sequence[Any]) -> psycopg.Cursor[Row]:
    """Run one statement."""
    return connection.execute(_translated(sql), values, binary=True)
