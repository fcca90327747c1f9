# SPDX-License-Identifier: Apache-2.0
"""A migration that is killed again and again resumes and ends complete; no value is ever lost."""

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

import qpher_core
from qpher_core import messages
from qpher_core.errors import QpherError
from qpher_core.file_header import FileHeader
from qpher_core.session import Session

KILLS = int(os.environ.get("QPHER_CRASH_KILLS", "0")) // 2 or 5
ROWS, FILES = 400, 60
KEM, NEXT = "ML-KEM-768", "ML-KEM-1024"

MIGRATE = """
import sqlite3, sys, qpher_core
url, kind, place, journal = sys.argv[1:]
source = place
if kind == "column":
    source = qpher_core.SqlColumn(sqlite3.connect(place), "cards", "id", "number")
with qpher_core.open(url) as kms:
    report = kms.session("acme", actor="test").migrate(
        source, to_algorithm="ML-KEM-1024", context={"table": "cards"}, journal=journal,
        batch=5, threads=2, progress=lambda p: print(p.done, flush=True),
    )
    ended = f"finished {report.complete} {report.moved} {report.already} {report.total}\\n"
    sys.stdout.write(ended)
"""


@frozen
class Subject:
    """What is migrated: where it is, and a check of it that returns how many are moved."""

    kind: str
    place: Path
    items: int
    moved: Callable[[Session], int]


def _opened(session: Session, value: bytes) -> tuple[bytes, int]:
    """Return the plaintext of a value under the key that it names, and whether that is new."""
    header = messages.read_header(value)
    assert header is not None
    opened = session.kem.decrypt(
        value, header.version, header.algorithm, context={"table": "cards"}
    )
    return opened.plaintext, header.algorithm == NEXT


def _column(session: Session, folder: Path) -> Subject:
    place = folder / "app.db"
    database = sqlite3.connect(place)
    database.execute("CREATE TABLE cards (id INTEGER PRIMARY KEY, number BLOB)")
    plain = [f"value-{n}".encode() for n in range(ROWS)]
    boxes = session.kem.encrypt_many(plain, context={"table": "cards"})
    values = [box.ciphertext for box in boxes if not isinstance(box, QpherError)]
    assert len(values) == ROWS
    database.executemany("INSERT INTO cards VALUES (?, ?)", list(enumerate(values)))
    database.commit()
    database.close()

    def moved(current: Session) -> int:
        database = sqlite3.connect(place)
        rows = database.execute("SELECT id, number FROM cards").fetchall()
        database.close()
        assert len(rows) == ROWS
        found = [(n, *_opened(current, value)) for n, value in rows]
        assert all(opened == f"value-{n}".encode() for n, opened, _ in found)
        return sum(new for _, _, new in found)

    return Subject("column", place, ROWS, moved)


def _folder(session: Session, folder: Path) -> Subject:
    place = folder / "files"
    place.mkdir()
    content = bytes(range(256)) * 400
    (folder / "plain").write_bytes(content)
    for n in range(FILES):
        session.kem.encrypt_file(folder / "plain", place / f"{n}.qph", context={"table": "cards"})

    def moved(current: Session) -> int:
        new = 0
        for n in range(FILES):
            path = place / f"{n}.qph"
            with path.open("rb") as file:
                (recipient,) = FileHeader.read(file).recipients
            header = messages.read_header(recipient)
            assert header is not None
            current.kem.decrypt_file(
                path, folder / "out", header.version, header.algorithm, context={"table": "cards"}
            )
            assert (folder / "out").read_bytes() == content
            new += header.algorithm == NEXT
        return new

    return Subject("folder", place, FILES, moved)


@pytest.mark.parametrize("make", [_column, _folder])
def test_a_migration_survives(make: Callable[[Session, Path], Subject], tmp_path: Path) -> None:
    """At any moment every value is whole under its old key or its new one; the end is complete."""
    url, choose = f"sqlite:///{tmp_path}/qpher.db", random.Random(9)
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        for algorithm in (KEM, NEXT):
            session.keys.generate(algorithm)
    killed = rounds = 0
    while killed < KILLS:
        folder = tmp_path / str(rounds)
        folder.mkdir()
        rounds += 1
        with qpher_core.open(url) as kms:
            subject = make(kms.session("acme", actor="test"), folder)
        before = 0
        while (line := _run_and_kill(url, subject, folder / "journal", choose)) is None:
            killed += 1
            with qpher_core.open(url) as kms:
                now = subject.moved(kms.session("acme", actor="test"))
            assert before <= now <= subject.items
            before = now
        complete, total = line[0], int(line[3])
        assert (complete, total) == ("True", subject.items)
        with qpher_core.open(url) as kms:
            assert subject.moved(kms.session("acme", actor="test")) == subject.items
            assert kms.audit.verify("acme").ok
    assert killed >= KILLS


def _run_and_kill(
    url: str, subject: Subject, journal: Path, choose: random.Random
) -> list[str] | None:
    """Run a migration and kill it somewhere; return what it reported if it ended before."""
    process = subprocess.Popen(
        [sys.executable, "-c", MIGRATE, url, subject.kind, str(subject.place), str(journal)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        for _ in range(choose.randint(1, 8)):
            output.readline()
        time.sleep(choose.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        rest = output.read()
    process.wait()
    ended = re.search(r"^finished (.+)\n", rest, re.MULTILINE)
    return ended[1].split() if ended else None
