# SPDX-License-Identifier: Apache-2.0
"""The store over one PostgreSQL database, for any number of nodes, processes and threads."""

import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from qpher_backends.group_commit import GroupCommit
from qpher_backends.postgres.connections import (
    Connection,
    Connections,
    Deadline,
    conflicts,
    conninfo_of,
    in_words,
    is_lost,
    run_on,
)
from qpher_backends.postgres.roles import bypass
from qpher_backends.postgres.schema import VERSION
from qpher_backends.postgres.tables import AnchorTable, ApiKeyTable, KeyTable
from qpher_backends.postgres.transaction import Transaction, Writer
from qpher_backends.sql.access import IdempotencyTable
from qpher_backends.sql.audit import AuditTable
from qpher_backends.sql.run import Row
from qpher_backends.sql.tables import IntentTable, PolicyTable, TenantTable
from qpher_core.errors import StoreUnavailable, ValidationError

__all__ = ["PostgresStore", "open_store"]

T = TypeVar("T")

_SCHEMES: Final = ("postgresql", "postgres")
_DEADLINE: Final = 10.0
_CONNECTIONS: Final = 8
_PROTECTOR: Final = "QPHER_PROTECTOR"

#: Tenants whose callers find each other to share a commit; more than work at any moment.
_GROUPS: Final = 1024

_VERSION: Final = "SELECT version FROM qpher.schema_version"


class PostgresStore:
    """Implements ``Store``. Not usable in a process forked from the one that opened it.

    Args:
        url: the database, for a role of the nodes.
        deadline: seconds after which a read or a commit is given up, repetitions included.
        connections: connections at most for reading, and as many for writing.
    """

    readers_wait = False

    def __init__(
        self, url: str, *, deadline: float = _DEADLINE, connections: int = _CONNECTIONS
    ) -> None:
        conninfo = conninfo_of(url)
        self._database = conninfo_to_dict(conninfo).get("dbname", "")
        self._deadline = deadline
        # Apart, so that a read inside of work never waits for work.
        self._reading = Connections(conninfo, connections)
        self._writing = Connections(conninfo, connections)
        self._groups: OrderedDict[uuid.UUID | None, GroupCommit[Writer]] = OrderedDict()
        self._groups_lock = threading.Lock()
        self._inside = threading.local()
        self._check()
        self.keys = KeyTable(self._read)
        self.audit = AuditTable(self._read)
        self.tenants = TenantTable(self._read)
        self.policies = PolicyTable(self._read)
        self.anchors = AnchorTable(self._read)
        self.service_keys = KeyTable(self._read, "service_keys")
        self.intents = IntentTable(self._read)
        self.api_keys = ApiKeyTable(self._read)
        self.idempotency = IdempotencyTable(self._read)

    def __repr__(self) -> str:
        return f"<PostgresStore {self._database!r}>"

    @property
    def default_protector(self) -> str:
        """What the environment names: a database is no place for a key encryption key.

        Raises:
            ValidationError: it names none.
        """
        named = os.environ.get(_PROTECTOR)
        if not named:
            raise ValidationError(
                f"protector is missing: name one, or set {_PROTECTOR}, to the same on every node",
                parameter="protector",
            )
        return named

    def commit(self, work: Callable[[Writer], T], *, tenant_id: uuid.UUID | None = None) -> T:
        """Run ``work`` in one durable transaction, shared with callers of the same tenant."""
        if getattr(self._inside, "work", False):
            raise RuntimeError("work must not commit: it is inside a commit already")

        def inside(writer: Writer) -> T:
            self._inside.work = True
            try:
                return work(writer)
            finally:
                self._inside.work = False

        return self._group(tenant_id)(inside)

    def close(self) -> None:
        """Close all connections."""
        self._reading.close()
        self._writing.close()

    def _group(self, tenant_id: uuid.UUID | None) -> GroupCommit[Writer]:
        with self._groups_lock:
            group = self._groups.pop(tenant_id, None)
            if group is None:
                group = GroupCommit(Transaction(self._writing, tenant_id, self._deadline))
            self._groups[tenant_id] = group
            if len(self._groups) > _GROUPS:
                self._groups.popitem(last=False)  # who still waits in it goes on with it
        return group

    def _read(self, tenant_id: uuid.UUID | None, sql: str, values: Sequence[Any]) -> list[Row]:
        """Run one query, again on another connection if that one was lost."""
        deadline = Deadline(self._deadline)
        while True:
            connection = self._reading.take(deadline)
            try:
                rows = _query(connection, tenant_id, sql, values)
            except psycopg.Error as error:
                lost = is_lost(connection, error)
                self._reading.discard(connection)
                if not deadline.left or not (lost or conflicts(error)):
                    raise StoreUnavailable(
                        f"the database does not answer: {in_words(error)}"
                    ) from error
            except BaseException:
                self._reading.discard(connection)
                raise
            else:
                self._reading.give_back(connection)
                return rows

    def _check(self) -> None:
        """Refuse a schema that is not ours and a role that row-level security does not bind."""
        try:
            self._reading.first(Deadline(self._deadline))
            connection = self._reading.take(Deadline(self._deadline))
            try:
                _check_schema(connection)
                why = bypass(connection)
            finally:
                self._reading.give_back(connection)
        except psycopg.Error as error:
            self.close()
            raise StoreUnavailable(f"cannot open {self!r}: {in_words(error)}") from error
        except BaseException:
            self.close()
            raise
        if why:
            self.close()
            raise ValidationError(
                f"url names a role that row-level security does not bind: {why}; docs/postgres.md"
                " says how to make another",
                parameter="url",
            )


def _query(
    connection: Connection, tenant_id: uuid.UUID | None, sql: str, values: Sequence[Any]
) -> list[Row]:
    with connection.pipeline():
        connection.begin(tenant_id)
        cursor = run_on(connection, sql, values)
        connection.execute("COMMIT")
    return cursor.fetchall()


def _check_schema(connection: Connection) -> None:
    advice = "its owner runs: python -m qpher_backends.postgres migrate URL"
    try:
        row = connection.execute(_VERSION).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
        raise StoreUnavailable(
            f"the database has no tables for this role ({in_words(error)}); {advice}"
        ) from None
    found = row[0] if row else 0
    if found > VERSION:
        raise StoreUnavailable(
            f"the database is at version {found} of the schema; this one knows {VERSION}"
        )
    if found < VERSION:
        raise StoreUnavailable(
            f"the database is at version {found} of the schema, not {VERSION}; {advice}"
        )


def open_store(url: str) -> PostgresStore:
    """Open ``postgresql://role@host[,host...]/database?...``, the entry point.

    The parameters are those of libpq, and ``deadline`` (seconds) and ``connections``.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _no_url() from None
    if parts.scheme not in _SCHEMES:
        raise _no_url()
    # libpq, unlike forms of web pages, writes a space as %20 and a plus as it is.
    query = parts.query.replace("+", "%2B")
    options = dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))
    try:
        deadline = float(options.pop("deadline", _DEADLINE))
        connections = int(options.pop("connections", _CONNECTIONS))
        if not 0 < deadline < 3600 or not 0 < connections < 1000:
            raise ValueError
    except ValueError:
        raise ValidationError(
            "url must have deadline in seconds and connections as a number", parameter="url"
        ) from None
    query = urlencode(options, errors="surrogateescape", quote_via=quote)
    rest = urlunsplit(parts._replace(query=query))
    if parts.netloc == "" and not rest.startswith(f"{parts.scheme}://"):
        rest = rest.replace(f"{parts.scheme}:", f"{parts.scheme}://", 1)
    return PostgresStore(rest, deadline=deadline, connections=connections)


def _no_url() -> ValidationError:
    return ValidationError("url must be postgresql://role@host/database", parameter="url")
