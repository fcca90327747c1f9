# SPDX-License-Identifier: Apache-2.0
"""Columns of PostgreSQL as sources of migrations."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import psycopg
import pytest
import sqlalchemy

from qpher_core.migration.sql import SqlColumn, SqlSource
from tests.postgres import server

Connected: TypeAlias = Callable[[str], AbstractContextManager[Any]]


@contextlib.contextmanager
def _by_sqlalchemy(url: str) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("connected", [psycopg.connect, _by_sqlalchemy])
def test_databases_are_told_apart(url: str, database: str, connected: Connected) -> None:
    """The same column of another database of the server is another one, and says no user."""
    places = []
    for name in (database, "postgres", database):
        with connected(url.replace(database, name)) as connection:
            source = SqlSource(SqlColumn(connection, "pg_database", "oid", "datacl"))
            places.append(source.place.removeprefix(f"{source.name} in "))
    folder = str(server().folder)
    assert places == [f"{folder}:5432/{name}" for name in (database, "postgres", database)]
