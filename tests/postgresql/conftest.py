# SPDX-License-Identifier: Apache-2.0
"""Databases on the server of the test run, and a server of its own for those that stop it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Server, database_url, server

Prompt = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of an empty database, for a node."""
    return database_url(tmp_path)


@pytest.fixture
def database(url: str, tmp_path: Path) -> str:
    """Return its name."""
    return (tmp_path / "postgres-database").read_text()


@pytest.fixture
def node(url: str) -> Iterator[Prompt]:
    """Return a prompt of a node's role, outside of every layer of ours."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = qpher")
        yield connection


@pytest.fixture
def superuser(database: str) -> Iterator[Prompt]:
    """Return a prompt that may do everything."""
    with server().connect(database) as connection:
        connection.execute("SET search_path = qpher")
        yield connection


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """Start a server that a test may stop and start."""
    server()  # which says what a node's protector is
    place = Path(tempfile.mkdtemp(prefix="qpher-pg-"))
    place.chmod(0o755)  # pytest's own directories are closed to the server's user
    made = Server(place / "server")
    try:
        made.create()
        yield made
    finally:
        made.stop()
        shutil.rmtree(place)
