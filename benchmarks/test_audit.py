# SPDX-License-Identifier: Apache-2.0
"""The audit log beside its bounds: rows of the same size in SQLite, and reading with hashing.

Ratios within one run are what counts: ``append`` over ``plain rows`` in each group of batches,
``verify`` over ``bound``.
"""

import hashlib
import itertools
import json
import os
import sqlite3
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import qpher_core
from qpher_core.audit.entry import EntryDraft, KeyAddress, build_entry
from qpher_core.audit.log import StoredAuditLog
from qpher_core.discovery import open_store
from qpher_core.protocols import Store, StoreWriter

BATCHES = (1, 100, 1000)
ENTRIES = int(os.environ.get("QPHER_BENCH_ENTRIES", "20000"))
TENANT = uuid.UUID(int=1)
DRAFT = EntryDraft(
    "billing-service",
    "signatures.sign",
    KeyAddress("default", "ML-DSA-65", 1),
    "success",
    "",
    str(uuid.UUID(int=2)),
    bytes(32),
    bytes(32),
)


def _now() -> datetime:
    return datetime.now(UTC)


def _append(store: Store, count: int) -> None:
    log = StoredAuditLog(store.audit, _now)

    def work(writer: StoreWriter) -> None:
        for _ in range(count):
            log.append(writer.audit, TENANT, DRAFT)

    store.commit(work)


@pytest.mark.parametrize("batch", BATCHES)
def test_append(benchmark: BenchmarkFixture, tmp_path: Path, batch: int) -> None:
    """Entries with chain and tree, one durable commit for each batch."""
    benchmark.group = f"append, batches of {batch}"
    store = open_store(f"sqlite:///{tmp_path}/q.db", parameter="url")
    benchmark.pedantic(_append, (store, batch), rounds=30, warmup_rounds=2)
    store.close()


@pytest.mark.parametrize("batch", BATCHES)
def test_plain_rows(benchmark: BenchmarkFixture, tmp_path: Path, batch: int) -> None:
    """Rows of the same size and key, inserted by SQLite alone in the same batches."""
    benchmark.group = f"append, batches of {batch}"
    connection = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE entries (tenant TEXT, seq INTEGER, body BLOB, hash BLOB, nodes BLOB,"
        " PRIMARY KEY (tenant, seq)) STRICT, WITHOUT ROWID"
    )
    entry = build_entry(DRAFT, tenant_id=TENANT, seq=1000, prev_hash=bytes(32), time=_now())
    places = itertools.count()

    def insert() -> None:
        rows = [(str(TENANT), next(places), entry.body, bytes(32), bytes(64)) for _ in range(batch)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")

    benchmark.pedantic(insert, rounds=30, warmup_rounds=2)
    connection.close()


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[qpher_core.VerifierKey]]:
    """Return an export and its keys."""
    folder = tmp_path_factory.mktemp("export")
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        tenant = kms.tenants.create("acme")
        log = StoredAuditLog(kms._store.audit, _now)

        def work(writer: StoreWriter) -> None:
            for _ in range(ENTRIES):
                log.append(writer.audit, tenant.id, DRAFT)

        kms._store.commit(work)
        kms.audit.export(folder / "export.jsonl", "acme")
        keys = list(map(qpher_core.VerifierKey.parse, kms.anchors.keys()))
    return folder / "export.jsonl", keys


@pytest.mark.parametrize("processes", [1, 2])
def test_verify(
    benchmark: BenchmarkFixture,
    export: tuple[Path, list[qpher_core.VerifierKey]],
    processes: int,
) -> None:
    """Verifying an export: chain, form, tree, anchors."""
    benchmark.group = "verify an export"
    path, keys = export
    report = benchmark.pedantic(
        qpher_core.verify_export, (path, keys), {"processes": processes}, rounds=5
    )
    assert report.ok


def test_bound(
    benchmark: BenchmarkFixture, export: tuple[Path, list[qpher_core.VerifierKey]]
) -> None:
    """Reading, SHA-256 and JSON parsing of the same bytes, in one process."""
    benchmark.group = "verify an export"

    def read() -> int:
        count = 0
        with export[0].open("rb") as file:
            for line in file:
                hashlib.sha256(line).digest()
                json.loads(line)
                count += 1
        return count

    assert benchmark.pedantic(read, rounds=5) > ENTRIES


@pytest.mark.parametrize("size", [1_000, ENTRIES])
def test_proof(benchmark: BenchmarkFixture, tmp_path: Path, size: int) -> None:
    """One proof from logs of two sizes."""
    benchmark.group = "proof"
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as kms:
        tenant = kms.tenants.create("acme")
        log = StoredAuditLog(kms._store.audit, _now)

        def work(writer: StoreWriter) -> None:
            for _ in range(size):
                log.append(writer.audit, tenant.id, DRAFT)

        kms._store.commit(work)
        session = kms.session("acme", actor="bench")
        receipt = next(iter(session.audit.entries(start=size // 3))).receipt
        kms.anchors.publish(tenant)
        assert benchmark(session.audit.proof, receipt)
