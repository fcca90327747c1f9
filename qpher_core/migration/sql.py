# SPDX-License-Identifier: Apache-2.0
"""A column of a table as the source of a migration, through DB-API 2 (PEP 249) or SQLAlchemy.

Rows are read by pages of their id and replaced by compare-and-swap, one transaction for a batch:
a row that an application changes meanwhile keeps what the application wrote.
"""

import base64
import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import field, frozen

from qpher_core.errors import ValidationError
from qpher_core.migration.report import ItemId
from qpher_core.migration.sources import Change, Item

__all__ = ["SqlColumn", "SqlSource"]

_NAME: Final = r'(?:[A-Za-z_][A-Za-z0-9_$]*|"[^"\x00]+")'
_IDENTIFIER: Final = re.compile(rf"{_NAME}(?:\.{_NAME})*")

#: Parameter styles of PEP 249 that take a plain sequence, to their placeholders.
_PLACEHOLDERS: Final = {
    "qmark": "?",
    "format": "%s",
    "pyformat": "%s",
    "numeric": ":{}",
    "numeric_dollar": "${}",
}


#: A batch must be one transaction.
_AUTOCOMMIT: Final = ValidationError(
    "connection must not commit by itself (autocommit)", parameter="connection"
)


@frozen
class SqlColumn:
    """A column whose values are migrated.

    The connection is the migration's alone while it runs: it commits after each batch. Values
    are bytes, or text that holds them in base64, and stay so.

    Attributes:
        connection: of a DB-API 2 module, or a SQLAlchemy ``Connection``.
        table: the table; as SQL writes it.
        id_column: a unique column of integers or text, with an index; better the primary key.
        value_column: the column of encrypted values.
    """

    connection: Any = field(repr=False)
    table: str
    id_column: str
    value_column: str

    def __attrs_post_init__(self) -> None:
        """Check the names: they become part of statements. Raises ``ValidationError``."""
        for parameter in ("table", "id_column", "value_column"):
            name = getattr(self, parameter)
            if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
                raise ValidationError(f"{parameter} must be a name in SQL", parameter=parameter)


class _DbApi:
    """Statements on a DB-API connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        if getattr(connection, "autocommit", False) is True or (
            getattr(connection, "isolation_level", "") is None and _is_sqlite(connection)
        ):
            raise _AUTOCOMMIT
        module = sys.modules[type(connection).__module__.partition(".")[0]]
        self.style = str(getattr(module, "paramstyle", "qmark"))

    def place(self) -> str:
        """Return which database it is, as far as the connection tells, without a password."""
        return _place(self._connection)

    def query(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, tuple(values))
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def update(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        cursor = self._connection.cursor()
        try:
            cursor.executemany(sql, rows)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()


def _is_sqlite(connection: object) -> bool:
    return isinstance(connection, sqlite3.Connection)


def _place(connection: Any) -> str:
    """Return which database a DB-API connection is of; nothing if that is not known."""
    if _is_sqlite(connection):
        listed = connection.execute("PRAGMA database_list").fetchall()
        return ", ".join(f"{name} {file}" for _, name, file in listed if file or name == "main")
    told = getattr(connection, "info", None)  # psycopg's
    parts = [getattr(told, part, None) for part in ("host", "port", "dbname")]
    return "{}:{}/{}".format(*parts) if any(parts) else ""


class _SqlAlchemy:
    """The same on a SQLAlchemy connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        if connection.get_isolation_level() == "AUTOCOMMIT":
            raise _AUTOCOMMIT
        self.style = str(connection.dialect.paramstyle)

    def place(self) -> str:
        url = self._connection.engine.url
        below = _place(self._connection.connection.dbapi_connection)
        return below or f"{url.host}:{url.port}/{url.database}"

    def query(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        return list(self._connection.exec_driver_sql(sql, tuple(values)))

    def update(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        return int(self._connection.exec_driver_sql(sql, [tuple(row) for row in rows]).rowcount)

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()


class SqlSource:
    """Implements ``Source`` over a column."""

    def __init__(self, column: SqlColumn) -> None:
        alchemy = hasattr(column.connection, "exec_driver_sql")
        self._database = (_SqlAlchemy if alchemy else _DbApi)(column.connection)
        mark = _PLACEHOLDERS.get(self._database.style)
        if mark is None:
            raise ValidationError(
                f"connection must take a sequence of parameters, not {self._database.style!r}",
                parameter="connection",
            )
        one, two, three = (mark.format(number) for number in (1, 2, 3))
        table, key, value = column.table, column.id_column, column.value_column
        page = f"ORDER BY {key} LIMIT"
        self._first = f"SELECT {key}, {value} FROM {table} {page} {one}"
        self._next = f"SELECT {key}, {value} FROM {table} WHERE {key} > {one} {page} {two}"
        self._count = f"SELECT count(*) FROM {table}"
        self._swap = f"UPDATE {table} SET {value} = {one} WHERE {key} = {two} AND {value} = {three}"
        self.name = f"{table}.{value} by {key}"
        self.place = f"{self.name} in {self._database.place()}"
        self.total: int | None = int(self._database.query(self._count, ())[0][0])

    def batches(self, after: ItemId | None, size: int) -> Iterator[Sequence[Item]]:
        """Yield rows by id."""
        while rows := self._page(after, size):
            yield [
                Item(row_id, _stored(value), row_id, isinstance(value, str))
                for row_id, value in rows
            ]
            after = rows[-1][0]
        self._database.rollback()  # ends the transaction of reading; writing commits its own

    def _page(self, after: ItemId | None, size: int) -> list[Sequence[Any]]:
        if after is None:
            rows = self._database.query(self._first, (size,))
        else:
            rows = self._database.query(self._next, (after, size))
        for row_id, _ in rows:
            if isinstance(row_id, bool) or not isinstance(row_id, int | str):
                raise ValidationError("id_column must hold integers or text", parameter="id_column")
        return rows

    def write(self, changes: Sequence[Change]) -> Sequence[ItemId]:
        """Swap the values of a batch in one transaction."""
        rows = [_row(change) for change in changes]
        try:
            swapped = self._database.update(self._swap, rows)
            gone = [] if swapped == len(rows) else self._write_each(changes, rows)
            self._database.commit()
        except BaseException:
            self._database.rollback()
            raise
        return gone

    def _write_each(self, changes: Sequence[Change], rows: Sequence[Sequence[Any]]) -> list[ItemId]:
        """Swap one by one, to tell which rows are no longer as they were."""
        self._database.rollback()
        return [
            change.item.id
            for change, row in zip(changes, rows, strict=True)
            if self._database.update(self._swap, [row]) == 0
        ]


def _row(change: Change) -> tuple[bytes | str, ItemId, bytes | str]:
    """Return the parameters of a swap: new value, id, old value."""
    item, old = change.item, change.item.value or b""
    if item.text:
        return base64.b64encode(change.value).decode(), item.id, base64.b64encode(old).decode()
    return change.value, item.id, old


def _stored(value: object) -> bytes | None:
    """Return what a row holds; numbers, and text that is not base64 as written, are not ours."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        return None
    try:
        found = base64.b64decode(value, validate=True)
    except ValueError:
        return None
    return found if base64.b64encode(found).decode() == value else None
