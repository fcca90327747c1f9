# SPDX-License-Identifier: Apache-2.0
"""Sources of migrations: what they give of folders and tables that are not as expected."""

import os
import sqlite3
from pathlib import Path

import pytest

import qpher_core
from qpher_core.migration import folders
from qpher_core.migration.folders import FolderSource
from qpher_core.migration.sql import SqlColumn, SqlSource


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
