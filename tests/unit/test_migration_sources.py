# SPDX-License-Identifier: Apache-2.0
"""Sources of migrations: what they give of folders and tables that are not as expected."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import sqlalchemy

import qpher_core
from qpher_core.errors import ValidationError
from qpher_core.migration import folders
from qpher_core.migration.folders import FolderSource
from qpher_core.migration.report import MigrationReport, Progress
from qpher_core.migration.sql import SqlColumn, SqlSource

Connected: TypeAlias = Callable[[Path], AbstractContextManager[Any]]


def test_a_folder_that_cannot_be_read_stops_a_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are not left out silently; a path that is too long cannot be read even by root."""
    monkeypatch.chdir(tmp_path)
    for _ in range(25):
        Path("d" * 200).mkdir()
        os.chdir("d" * 200)
    with pytest.raises(OSError, match="too long"):
        FolderSource(tmp_path)


@pytest.mark.parametrize("value", [2**50, -1, 1.5])
def test_numbers_in_a_column_are_not_ours(value: float) -> None:
    """SQLite keeps any type in any column; a number is ignored, and no memory is taken for it."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE cards (id INTEGER PRIMARY KEY, number)")
    database.execute("INSERT INTO cards VALUES (1, ?)", (value,))
    database.commit()
    source = SqlSource(SqlColumn(database, "cards", "id", "number"))
    assert [item.value for batch in source.batches(None, 10) for item in batch] == [None]


def test_a_message_that_is_too_long_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays as it is, is not taken for a file of others, and the migration is not complete."""
    monkeypatch.setattr(folders, "_LARGEST_MESSAGE", 2000)
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate("ML-KEM-768")
        message = session.kem.encrypt(bytes(1000)).ciphertext
        (tmp_path / "message").write_bytes(message)
        session.keys.rotate("ML-KEM-768")
        report = session.migrate(tmp_path, to_algorithm="ML-KEM-768")
    assert (report.ignored, len(report.failed), report.complete) == (0, 1, False)
    assert (tmp_path / "message").read_bytes() == message


def test_a_folder_whose_name_is_no_text_moves(tmp_path: Path) -> None:
    """The audit log has its name in a form that can be written."""
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate("ML-KEM-768")
        (folder / "message").write_bytes(session.kem.encrypt(b"x").ciphertext)
        session.keys.rotate("ML-KEM-768")
        assert session.migrate(folder, to_algorithm="ML-KEM-768").moved == 1


@contextlib.contextmanager
def _by_module(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection


@contextlib.contextmanager
def _by_sqlalchemy(path: Path) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("connected", [_by_module, _by_sqlalchemy])
def test_a_journal_is_for_one_database(tmp_path: Path, connected: Connected) -> None:
    """An unfinished one is refused for the same column elsewhere, where it would leave out rows."""
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate("ML-KEM-768")
        for name in ("one.db", "other.db"):
            with _by_module(tmp_path / name) as database, database:
                database.execute("CREATE TABLE cards (id INTEGER PRIMARY KEY, number)")
                rows = [(n, session.kem.encrypt(b"x").ciphertext) for n in range(4)]
                database.executemany("INSERT INTO cards VALUES (?, ?)", rows)
        session.keys.rotate("ML-KEM-768")

        def run(name: str, progress: Progress = lambda _: None) -> MigrationReport:
            with connected(tmp_path / name) as connection:
                column = SqlColumn(connection, "cards", "id", "number")
                journal = tmp_path / "journal"
                return session.migrate(column, batch=2, journal=journal, progress=progress)

        with pytest.raises(ZeroDivisionError):
            run("one.db", lambda _: 1 / 0)
        with pytest.raises(ValidationError, match="another migration"):
            run("other.db")
        report = run("one.db")
        assert (report.moved, report.resumed) == (4, True)
        assert run("other.db").moved == 4
        assert {entry.fields["reason"] for entry in session.audit.entries()} == {
            "",
            "2 values; migration of cards.number by id",
        }
