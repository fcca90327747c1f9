# SPDX-License-Identifier: Apache-2.0
"""One durable transaction: begun again when it is lost, never told to have failed when it has not.

Whoever writes for a tenant holds the lock of that tenant's row of ``audit_heads`` until the end,
so that commits for one tenant go one at a time on all nodes, and others are not held up. Work
for no single tenant holds the row of the service, and takes those of tenants as it comes to them:
two such never wait for each other in a circle.
"""

import contextlib
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import psycopg

from qpher_backends.group_commit import TransactionLost
from qpher_backends.postgres.connections import (
    Connection,
    Connections,
    Deadline,
    conflicts,
    in_words,
    is_lost,
    run_on,
)
from qpher_backends.postgres.tables import AnchorTable, ApiKeyTable, KeyTable
from qpher_backends.sql.access import IdempotencyTable
from qpher_backends.sql.audit import AuditWriter
from qpher_backends.sql.run import Row, Run, RunMany
from qpher_backends.sql.tables import IntentTable, PolicyTable, TenantTable
from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.audit.records import LogState
from qpher_core.errors import OutcomeUnknown, StoreUnavailable
from qpher_core.models import SERVICE

__all__ = ["Transaction", "Writer"]

#: Each statement sees what was committed before it, the first one after a lock included.
_HOW: Final = "ISOLATION LEVEL READ COMMITTED"

_LOCK: Final = "SELECT size, hash, peaks FROM audit_heads WHERE tenant_id = ? FOR UPDATE"
_MAKE: Final = "INSERT INTO audit_heads VALUES (?, 0, ?, ?) ON CONFLICT (tenant_id) DO NOTHING"
_MARK: Final = "INSERT INTO commit_marks (tenant_id, id) VALUES (?, ?)"
_TIDY: Final = "DELETE FROM commit_marks WHERE tenant_id = ? AND made_at < now() - interval '1 day'"
_HAS_MARK: Final = "SELECT 1 FROM commit_marks WHERE tenant_id = ? AND id = ?"
_HAS_ENTRY: Final = "SELECT 1 FROM audit_entries WHERE tenant_id = ? AND seq = ? AND hash = ?"

#: Seconds at most before a transaction that met a conflict is tried again.
_CONFLICT_PAUSE: Final = 0.02

#: What tells whether a transaction took place: tenant, statement, its other values.
_Witness = tuple[uuid.UUID, str, tuple[Any, ...]]


class Writer:
    """Implements ``ParticipantWriter``."""

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


class Transaction:
    """Implements ``group_commit.Transaction``; jobs that write are savepoints.

    Args:
        connections: where it borrows one.
        tenant_id: the only tenant whose rows may be touched; None for all.
        seconds: how long it may take with all its repetitions.
    """

    def __init__(
        self, connections: Connections, tenant_id: uuid.UUID | None, seconds: float
    ) -> None:
        self._connections = connections
        self._tenant_id = tenant_id
        self._owner = tenant_id or SERVICE
        self._seconds = seconds
        self._deadline = Deadline(0)
        self._repeating = False
        self._borrowed: Connection | None = None
        self._writer = Writer(self._run, self._run_many)
        self._forget()

    def _forget(self) -> None:
        self._at = self._sent = self._owner  # whose rows statements see; as the server knows
        self._locked: set[uuid.UUID] = set()
        self._locked_before: set[uuid.UUID] = set()  # before the job under way wrote
        self._unsent: list[str] = []  # statements without an answer, to go with the next
        self._saved = False
        self._wrote = False

    # --- as group commit uses it -----------------------------------------------------------------

    def begin(self) -> Writer:
        """Begin, and lock the log of the tenant, or that of the service."""
        if not self._repeating:
            self._deadline = Deadline(self._seconds)
        self._repeating = False
        self._forget()
        self._writer.audit.begin()
        self._borrowed = self._connections.take(self._deadline)
        with self._guarded() as connection:
            state = _lock(connection, self._owner, begin=True)
        self._locked.add(self._owner)
        self._writer.audit.know(self._owner, state)
        return self._writer

    def attempt(self, work: Callable[[], None]) -> None:
        """Run ``work``; undo what it alone wrote if it raises."""
        undo = self._writer.audit.mark()
        self._saved = False
        try:
            work()
        except Exception as error:
            lost = isinstance(error, TransactionLost) and error.transaction is self
            if lost or isinstance(error, StoreUnavailable):
                raise  # nothing of this transaction counts; that of another store may be lost
            undo()
            self._undo_job()
            raise
        if self._saved:
            self._unsent.append("RELEASE SAVEPOINT job")

    def commit(self) -> None:
        """Make everything durable; find out whether it is, if the connection is lost meanwhile."""
        connection = self._lent()
        witness = self._witness()
        try:
            with connection.pipeline():
                self._send_unsent(connection)
                self._writer.audit.flush()
                if witness is not None and witness[1] is _HAS_MARK:
                    self._leave_mark(connection, witness)
                done = connection.execute("COMMIT")
            if done.statusmessage != "COMMIT":
                raise StoreUnavailable(f"the database answered {done.statusmessage} to a commit")
        except psycopg.Error as error:
            if not is_lost(connection, error):
                raise self._failure(error) from error
            self._connections.discard(connection)
            self._borrowed = None
            if witness is not None and not self._took_place(witness):
                raise self._failure(error, lost=True) from error
        else:
            self._borrowed = None
            self._connections.give_back(connection)

    def rollback(self) -> None:
        """Undo everything, by closing the connection if need be."""
        connection, self._borrowed = self._borrowed, None
        if connection is None:
            return
        with contextlib.suppress(psycopg.Error):
            if not connection.lost:
                connection.execute("ROLLBACK")
        if connection.lost:
            self._connections.discard(connection)
        else:
            self._connections.give_back(connection)

    # --- statements of the work ------------------------------------------------------------------

    def _run(self, tenant_id: uuid.UUID | None, sql: str, values: Sequence[Any]) -> list[Row]:
        writes = not sql.startswith("SELECT")
        if tenant_id is not None and tenant_id != self._at:
            self._enter(tenant_id, writes=writes)
        if writes:
            self._save()
        with self._guarded() as connection:
            if not self._unsent and self._at == self._sent:
                return _rows(run_on(connection, sql, values))
            with connection.pipeline():
                self._send_unsent(connection)
                cursor = run_on(connection, sql, values)
            return _rows(cursor)

    def _run_many(self, tenant_id: uuid.UUID | None, sql: str, rows: Sequence[Row]) -> None:
        """Send, as part of committing; errors come out at the end of the pipeline."""
        if tenant_id is not None and tenant_id != self._at:
            self._enter(tenant_id, writes=True)
        connection = self._lent()
        self._send_unsent(connection)
        for row in rows:
            run_on(connection, sql, row)

    def _enter(self, tenant_id: uuid.UUID, *, writes: bool) -> None:
        """Go on with the rows of a tenant, locking its log when it is the first time.

        Work for one tenant reads what belongs to the service, without a lock, and nothing else.
        """
        if self._tenant_id is not None:
            if tenant_id != self._tenant_id and (writes or tenant_id != SERVICE):
                raise RuntimeError("work for one tenant touches the data of another")
        elif tenant_id not in self._locked:
            with self._guarded() as connection:
                self._send_unsent(connection)
                state = _lock(connection, tenant_id)
            self._locked.add(tenant_id)
            self._sent = tenant_id
            self._writer.audit.know(tenant_id, state)
        self._at = tenant_id

    def _save(self) -> None:
        """Note that the job under way writes: from here on it can be undone alone."""
        self._wrote = True
        if not self._saved:
            self._saved = True
            self._locked_before = set(self._locked)
            self._unsent.append("SAVEPOINT job")

    def _undo_job(self) -> None:
        if not self._saved:
            return
        with self._guarded() as connection, connection.pipeline():
            self._send_unsent(connection)
            connection.execute("ROLLBACK TO SAVEPOINT job")
            connection.execute("RELEASE SAVEPOINT job")
            connection.scope(self._owner)
        self._at = self._sent = self._owner
        self._locked = self._locked_before  # locks of rows are undone as well

    def _send_unsent(self, connection: Connection) -> None:
        for statement in self._unsent:
            connection.execute(statement)
        self._unsent.clear()
        if self._at != self._sent:
            connection.scope(self._at)
            self._sent = self._at

    # --- what became of it -----------------------------------------------------------------------

    def _witness(self) -> _Witness | None:
        """Return what there will be if and only if the transaction takes place."""
        entry = self._writer.audit.last
        if entry is not None:
            return entry[0], _HAS_ENTRY, entry[1:]
        return (self._owner, _HAS_MARK, (str(uuid.uuid4()),)) if self._wrote else None

    def _leave_mark(self, connection: Connection, witness: _Witness) -> None:
        owner = str(self._owner)
        self._at = self._owner
        self._send_unsent(connection)
        run_on(connection, _MARK, (owner, *witness[2]))
        run_on(connection, _TIDY, (owner,))

    def _took_place(self, witness: _Witness) -> bool:
        """Look in the database whether a commit that got no answer took place.

        Raises:
            StoreUnavailable: that cannot be learned before the deadline.
        """
        while True:
            try:
                connection = self._connections.take(self._deadline)
            except StoreUnavailable as error:
                raise _unknown(str(error)) from error
            try:
                # Where the lost one still runs, this waits for its end: it holds the same lock.
                _lock(connection, self._owner, begin=True)
                connection.scope(witness[0])
                found = _rows(run_on(connection, witness[1], (str(witness[0]), *witness[2])))
                connection.execute("ROLLBACK")
            except psycopg.Error as error:
                self._connections.discard(connection)
                if not self._deadline.left or not (is_lost(connection, error) or conflicts(error)):
                    raise _unknown(in_words(error)) from error
            except BaseException:
                self._connections.discard(connection)
                raise
            else:
                self._connections.give_back(connection)
                return bool(found)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[Connection]:
        connection = self._lent()
        try:
            yield connection
        except psycopg.Error as error:
            raise self._failure(error) from error

    def _lent(self) -> Connection:
        if self._borrowed is None:
            raise StoreUnavailable("the transaction has ended")
        return self._borrowed

    def _failure(self, error: psycopg.Error, *, lost: bool = False) -> Exception:
        """Return what to raise: a signal to begin again while there is time, or an error."""
        conflict = conflicts(error)
        lost = lost or (self._borrowed is not None and is_lost(self._borrowed, error))
        if (lost or conflict) and self._deadline.left:
            self._repeating = True
            if conflict:
                time.sleep(random.uniform(0, _CONFLICT_PAUSE))  # noqa: S311 - not a secret
            return TransactionLost(self)
        within = f" within {self._deadline}" if lost or conflict else ""
        return StoreUnavailable(f"the database does not answer{within}: {in_words(error)}")


def _lock(connection: Connection, tenant_id: uuid.UUID, *, begin: bool = False) -> LogState:
    """Lock the log of a tenant and return its end; go on with the rows of that tenant."""
    name = str(tenant_id)
    with connection.pipeline():
        if begin:
            connection.begin(tenant_id, how=_HOW)
        else:
            connection.scope(tenant_id)
        cursor = run_on(connection, _LOCK, (name,))
    rows = _rows(cursor)
    if not rows:
        with connection.pipeline():
            run_on(connection, _MAKE, (name, EMPTY_HEAD, b""))
            cursor = run_on(connection, _LOCK, (name,))
        rows = _rows(cursor)
    return LogState(*rows[0])


def _rows(cursor: psycopg.Cursor[Row]) -> list[Row]:
    return cursor.fetchall() if cursor.description else []


def _unknown(why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the connection was lost during a commit, whose outcome is not known: {why}"
    )
