# SPDX-License-Identifier: Apache-2.0
"""``qpher-core migrate`` and ``rewrap`` on columns and files, locally and through a service."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import qpher_core
from qpher_core.cli.main import main

ROWS = 25


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that runs a command on the store, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def runner(*arguments: str, given: bytes | None = None) -> Result:
        return CliRunner(env=environment).invoke(main, list(arguments), input=given)

    assert runner("keys", "generate", "ML-KEM-768").exit_code == 0
    assert runner("keys", "generate", "ML-KEM-1024").exit_code == 0
    return runner


def test_files_move_and_what_is_no_file_of_ours_stays(run: Any, tmp_path: Path) -> None:
    """An altered header fails, text is told from encrypted files, and the status is 1."""
    for name in ("good", "bad"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
        assert run("encrypt", name).exit_code == 0
    data = bytearray((tmp_path / "bad.qph").read_bytes())
    data[600] ^= 1
    (tmp_path / "bad.qph").write_bytes(data)
    (tmp_path / "plain").write_bytes(b"text")
    done = run("rewrap", "good.qph", "bad.qph", "plain", "--algorithm", "ML-KEM-1024", "--json")
    assert done.exit_code == 1
    rows = json.loads(done.stdout)
    assert rows[0]["outcome"] == "moved"
    assert rows[1]["outcome"] == "the input cannot be decrypted"
    assert rows[2]["outcome"] == "not an encrypted file"
    assert (tmp_path / "bad.qph").read_bytes() == data
    assert run("decrypt", "good.qph", "-o", "again").exit_code == 0
    assert (tmp_path / "again").read_bytes() == (tmp_path / "good").read_bytes()


def test_a_column_moves_and_a_second_run_has_nothing_to_do(
    run: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    """Every value is under the new algorithm; NULL stays; a dry run writes nothing."""
    path = tmp_path / "shop.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE patients (id INTEGER PRIMARY KEY, diagnosis BLOB)")
    values = [_encrypted(environment, f"value {number}".encode()) for number in range(ROWS)]
    with database:
        database.executemany("INSERT INTO patients (diagnosis) VALUES (?)", [(v,) for v in values])
        database.execute("INSERT INTO patients (diagnosis) VALUES (NULL)")
    arguments = ("migrate", f"sqlite:///{path}", "--column", "patients.id.diagnosis")
    options = ("--algorithm", "ML-KEM-1024", "--json")
    reports, stored = [], []
    for extra in (["--dry-run"], [], []):
        done = run(*arguments, *options, *extra)
        assert done.exit_code == 0, done.output
        reports.append(json.loads(done.stdout))
        stored.append([row[0] for row in database.execute("SELECT diagnosis FROM patients")])
    assert [report["moved"] for report in reports] == [ROWS, ROWS, 0]
    assert reports[2]["already"] == ROWS
    assert stored[0] == [*values, None]
    assert not set(stored[1][:ROWS]) & set(values)
    assert stored[2] == stored[1]
    database.close()


def _encrypted(environment: dict[str, str], plaintext: bytes) -> bytes:
    """Encrypt a value as an application does."""
    url = environment["QPHER_STORE"]
    if url.startswith("http"):
        with qpher_core.open(url, api_key=environment["QPHER_API_KEY"]) as service:
            return service.session().kem.encrypt(plaintext).ciphertext
    with qpher_core.open(url) as kms:
        return kms.session("acme", actor="app").kem.encrypt(plaintext).ciphertext


def test_what_is_no_source_is_refused(run: Any, tmp_path: Path) -> None:
    """A missing database, a column without one, and half a column name."""
    for arguments in (
        [f"sqlite:///{tmp_path}/none.db", "--column", "a.b.c"],
        [str(tmp_path), "--column", "a.b.c"],
        [f"sqlite:///{tmp_path}/qpher.db", "--column", "a.b"],
        [f"sqlite:///{tmp_path}/qpher.db", "--column", "a.b;c.d"],
    ):
        assert run("migrate", *arguments).exit_code == 2


def test_what_a_database_says_is_one_line(run: Any, tmp_path: Path) -> None:
    """A table that is not there and a file that is no database end with status 2, not with 1."""
    (tmp_path / "text.db").write_bytes(b"no database at all\n" * 100)
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE patients (id INTEGER PRIMARY KEY, diagnosis BLOB)")
    database.close()
    for name in ("text.db", "shop.db"):
        done = run("migrate", f"sqlite:///{tmp_path}/{name}", "--column", "nurses.id.diagnosis")
        assert done.exit_code == 2
        assert done.stderr.startswith("qpher-core: the database refuses: ")
        assert done.stderr.count("\n") == 1
