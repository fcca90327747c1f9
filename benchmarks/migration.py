# SPDX-License-Identifier: Apache-2.0
"""A column of small values moves to another key, beside the store's own update of the same rows.

``python -m benchmarks.migration [--kind fields|messages] [--rows N] [--threads N] [--url URL of
keys and log]``. Values of fields share an encapsulation for each 10,000; messages have one each.
All parts run on one database, one after the other:

1. *store*: the pages are read and the rows replaced by the same statements and transactions as
   in a migration, with values of the same length; nothing is computed.
2. *migrate*: ``session.migrate`` with a journal, to the next version of the key.
3. *crypto*: what the same values need of KEM and AEAD, in memory, by one thread, without any store.
4. *audit*: as many decisions and durable entries as the migration needs, each with a small call.

*rest* is the migration less the other three: the interpreter, and waiting for it. Processor time
says more than the clock where others use the machine as well.
"""

import argparse
import atexit
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import qpher_core
from qpher_core import messages
from qpher_core.migration.sources import Change
from qpher_core.migration.sql import SqlColumn, SqlSource
from qpher_core.session import Session
from tests.postgres import Server

KEM = "ML-KEM-768"
CONTEXT = {"table": "cards"}
BATCH = 10_000
SHARED = 10_000

#: Seconds by the clock, and of processor time of this process.
Spent = tuple[float, float]


def now() -> Spent:
    """Return both clocks."""
    return time.perf_counter(), time.process_time()


def since(began: Spent) -> Spent:
    """Return what passed on both clocks."""
    clock, processor = now()
    return clock - began[0], processor - began[1]


def boxes(session: Session, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield encrypted values, made as whoever has the public key makes them."""
    key = session.keys.active(KEM)
    opened = session.kem._keys.open_encapsulation(key)
    binding = messages.Binding(key.ref, messages.Kind.MESSAGE, CONTEXT)
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        plain = [b"4111 1111 1111 %04d" % (n % 10000) for n in numbers]
        sealed = messages.encrypt_all(opened, [binding] * len(plain), plain)
        yield from zip(numbers, sealed, strict=True)


def field_values(session: Session, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield values of a field, as an application makes them."""
    field = session.kem.field(context=CONTEXT)
    for start in range(0, count, SHARED):
        numbers = range(start, min(start + SHARED, count))
        values = field.encrypt_many([f"4111 1111 1111 {n % 10000:04}" for n in numbers])
        yield from zip(numbers, values, strict=True)


def store_alone(source: SqlSource) -> Spent:
    """Return what the store takes to read and replace all rows."""
    began = now()
    for items in source.batches(None, BATCH):
        source.write([Change(i, os.urandom(16) + (i.value or b"")[16:]) for i in items])
    return since(began)


def crypto_alone(session: Session, count: int, *, fields: bool) -> Spent:
    """Return what one thread takes to decrypt and encrypt as many values or keys."""
    old, new = session.keys.get(KEM, 1), session.keys.get(KEM, 2)
    keys = session.kem._keys
    kind = messages.Kind.FIELD_KEY if fields else messages.Kind.MESSAGE
    source = messages.Binding(old.ref, kind, CONTEXT)
    target = messages.Binding(new.ref, kind, CONTEXT)
    number = 1 if fields else BATCH  # of one batch; a batch is within what shares a key
    sources, targets = [source] * number, [target] * number
    sealed = messages.encrypt_all(keys.open_encapsulation(old), sources, [b"x" * 19] * number)
    began = now()
    for _ in range(count // BATCH):
        opened = messages.decrypt_all(keys.open_decapsulation(old), sources, sealed)
        plain = [p for p in opened if isinstance(p, bytes)]
        messages.encrypt_all(keys.open_encapsulation(new), targets, plain)
    return since(began)


def audit_alone(session: Session, count: int) -> Spent:
    """Return what the decisions and durable entries of a migration take: two for a batch."""
    began = now()
    for _ in range(2 * count // BATCH):
        session.kem.encapsulate()
    return since(began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["fields", "messages"], default="fields")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--url", help="keys and log; SQLite beside the rows if left out")
    parser.add_argument("--postgres", action="store_true", help="rows on a server of its own")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with qpher_core.open(given.url or f"sqlite:///{folder}/qpher.db") as kms:
            kms.tenants.create("acme")
            database = on_postgres() if given.postgres else on_sqlite(folder / "app.db")
            measure(kms.session("acme", actor="bench"), database, folder, given)


def on_sqlite(path: Path) -> Any:
    """Return a durable database in a file."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    return database


def on_postgres() -> Any:
    """Return a connection to a server that is started for it, durable as servers are."""
    import psycopg  # noqa: PLC0415 - an extra

    folder = Path(tempfile.mkdtemp(prefix="qpher-bench-"))
    server = Server(folder, settings={"fsync": "on", "full_page_writes": "on"})
    server.create()
    atexit.register(server.stop)
    return psycopg.connect(host=str(folder), user="postgres", dbname="postgres")


def fill(database: Any, rows: Iterator[tuple[int, bytes]]) -> None:
    """Make two tables of the same rows."""
    sqlite = isinstance(database, sqlite3.Connection)
    binary, mark = ("BLOB", "?") if sqlite else ("BYTEA", "%s")
    for table in ("cards", "others"):
        database.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, number {binary})")
    database.cursor().executemany(f"INSERT INTO cards VALUES ({mark}, {mark})", rows)
    database.execute("INSERT INTO others SELECT id, number FROM cards")
    database.commit()


def measure(session: Session, database: Any, folder: Path, given: argparse.Namespace) -> None:
    """Measure each part on one database."""
    rows, fields = given.rows, given.kind == "fields"
    session.keys.generate(KEM)
    fill(database, (field_values if fields else boxes)(session, rows))
    session.keys.rotate(KEM)
    store = store_alone(SqlSource(SqlColumn(database, "others", "id", "number")))
    began = now()
    report = session.migrate(
        SqlColumn(database, "cards", "id", "number"),
        context=CONTEXT,
        journal=folder / "journal",
        threads=given.threads,
        batch=BATCH,
    )
    migrate = since(began)
    if not report.complete or report.moved != rows:
        raise SystemExit(f"not all were moved: {report}")
    parts = {
        "store": store,
        "migrate": migrate,
        "crypto": crypto_alone(session, rows, fields=fields),
        "audit": audit_alone(session, rows),
    }
    database.close()
    print(f"{rows:,} {given.kind}")
    others = [spent for part, spent in parts.items() if part != "migrate"]
    parts["rest"] = (
        migrate[0] - sum(clock for clock, _ in others),
        migrate[1] - sum(processor for _, processor in others),
    )
    for part, (clock, processor) in parts.items():
        print(
            f"{part:8} {clock:8.1f} s {clock / store[0]:6.2f} of the store's own"
            f" {clock / migrate[0]:5.0%} of the migration; processor"
            f" {processor / rows * 1e6:6.1f} us a row {processor / migrate[1]:5.0%}"
        )


if __name__ == "__main__":
    main()
