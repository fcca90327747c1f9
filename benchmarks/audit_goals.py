# SPDX-License-Identifier: Apache-2.0
"""The goals of the pipeline and the audit log, each beside its measure: ``make bench-audit``.

All sides of a goal take turns in one run, in one process, so that what else the machine does
meets all of them. Printed are the best and the middle of the rounds.
"""

import hashlib
import itertools
import json
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final

import msgspec
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric import mldsa

import qpher_core
from benchmarks.audit_growth import DRAFT
from qpher_core.audit.entry import build_entry
from qpher_core.audit.log import StoredAuditLog
from qpher_core.discovery import open_primitives

SIGNATURE: Final = "ML-DSA-65"
THREADS: Final = 32
CALLS: Final = 640
BATCH: Final = 64
ROUNDS: Final = 9
ENTRIES: Final = 60_000

#: Different messages: the time of one signature depends on its message.
MESSAGES: Final = [number.to_bytes(32, "big") for number in range(CALLS)]

Subject = Callable[[], object]


@frozen
class Goal:
    """One row: what is measured, in what unit, and whether more or less is wanted.

    Without a goal it is what another row cannot be better than.
    """

    name: str
    goal: float | None
    measure: Callable[[Mapping[str, float]], float]
    most: bool = False

    def verdict(self, value: float) -> str:
        """Return the goal, and whether a value reaches it."""
        if self.goal is None:
            return "the limit of the row above"
        met = value <= self.goal if self.most else value >= self.goal
        return f"{'≤' if self.most else '≥'} {self.goal} {'reached' if met else 'missed'}"


def ratio(bound: str, subject: str) -> Callable[[Mapping[str, float]], float]:
    """Return what divides the time of a bound by that of a subject."""
    return lambda times: times[bound] / times[subject]


def added(times: Mapping[str, float]) -> float:
    """Return microseconds that one thread pays over a bare signature and a bare commit."""
    return (times["pipeline"] - times["bare"] - times["commit"]) * 1e6


SIGNING: Final = (
    Goal("32 threads, of bare sign by 32 threads", 0.4, ratio("bare, 32", "pipeline, 32")),
    Goal("32 threads, of bare sign by one", 0.4, ratio("bare", "pipeline, 32")),
    Goal("32 threads, times cryptography's sign", 5.0, ratio("cryptography", "pipeline, 32")),
    Goal("sign_many of 64, of bare sign_many", 0.85, ratio("bare, many", "pipeline, many")),
    Goal("bare sign_many and a bare commit", None, ratio("bare, many", "bare, many and rows")),
)
ALONE: Final = (Goal("one thread, µs over sign and commit", 80.0, added, most=True),)
APPENDING: Final = (
    Goal("append 100, of rows in SQLite", 0.5, ratio("rows 100", "append 100")),
    Goal("append 1000, of rows in SQLite", 0.5, ratio("rows 1000", "append 1000")),
)
VERIFYING: Final = (
    Goal("verify, one process, of json", 0.5, ratio("json", "verify 1")),
    Goal("verify, two processes, of json", 0.5, ratio("json", "verify 2")),
    Goal("verify, one process, of msgspec", 0.5, ratio("msgspec", "verify 1")),
    Goal("verify, two processes, of msgspec", 0.5, ratio("msgspec", "verify 2")),
)


def rounds(subjects: Mapping[str, Subject], count: int = ROUNDS) -> dict[str, list[float]]:
    """Time the subjects in turns, in seconds; the first round only warms up."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(count + 1):
        for name, subject in subjects.items():
            start = time.perf_counter()
            subject()
            if number:
                times[name].append(time.perf_counter() - start)
    return times


def report(goals: Sequence[Goal], times: Mapping[str, Sequence[float]], each: int) -> None:
    """Print the times of the subjects, and each measure beside its goal."""
    best = {name: min(found) for name, found in times.items()}
    middle = {name: statistics.median(found) for name, found in times.items()}
    for name in times:
        print(f"  {name:<38}{best[name] / each * 1e6:>9.2f}{middle[name] / each * 1e6:>9.2f} µs")
    for goal in goals:
        values = goal.measure(best), goal.measure(middle)
        verdict = goal.verdict(values[1])
        print(f"{goal.name:<40}{values[0]:>9.2f}{values[1]:>9.2f}   {verdict}")


def threaded(sign: Callable[[bytes], object], threads: int) -> Subject:
    """Return what signs all messages with a number of threads."""

    def part(first: int) -> None:
        for message in MESSAGES[first::threads]:
            sign(message)

    def run() -> None:
        workers = [Thread(target=part, args=(first,)) for first in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return run


def batched(sign_many: Callable[[Sequence[bytes]], object]) -> Subject:
    """Return what signs all messages in batches."""
    batches = [MESSAGES[first : first + BATCH] for first in range(0, CALLS, BATCH)]
    return lambda: [sign_many(batch) for batch in batches]


@contextmanager
def rows(folder: Path) -> Iterator[Callable[[int], None]]:
    """Give what inserts rows of an entry's size in one durable commit, by SQLite alone."""
    connection = sqlite3.connect(folder / "rows.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE entries (tenant TEXT, seq INTEGER, body BLOB, hash BLOB, nodes BLOB,"
        " PRIMARY KEY (tenant, seq)) STRICT, WITHOUT ROWID"
    )
    nil = uuid.UUID(int=0)
    entry = build_entry(DRAFT, tenant_id=nil, seq=1000, prev_hash=bytes(32), time=_now())
    places = itertools.count()

    def insert(count: int) -> None:
        made = [(str(nil), next(places), entry.body, bytes(32), bytes(64)) for _ in range(count)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", made)
        connection.execute("COMMIT")

    yield insert
    connection.close()


def signing(folder: Path) -> None:
    """Print the goals of signing."""
    scheme = open_primitives(None).signatures[SIGNATURE]
    key = scheme.open_seed(scheme.generate_seed())
    other = mldsa.MLDSA65PrivateKey.generate()
    with qpher_core.open(f"sqlite:///{folder}/sign.db") as kms, rows(folder) as insert:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="bench")
        session.keys.generate(SIGNATURE)
        signatures = session.signatures
        subjects = {
            "bare": threaded(key.sign, 1),
            "bare, 32": threaded(key.sign, THREADS),
            "cryptography": threaded(other.sign, 1),
            "pipeline, 32": threaded(signatures.sign, THREADS),
            "bare, many": batched(key.sign_many),
            "bare, many and rows": batched(lambda some: (key.sign_many(some), insert(len(some)))),
            "pipeline, many": batched(signatures.sign_many),
        }
        report(SIGNING, rounds(subjects), CALLS)
        messages = itertools.cycle(MESSAGES)
        alone: dict[str, Subject] = {
            "bare": lambda: key.sign(next(messages)),
            "commit": lambda: insert(1),
            "pipeline": lambda: signatures.sign(next(messages)),
        }
        report(ALONE, rounds(alone, CALLS), 1)


def appending(folder: Path) -> None:
    """Print the goals of appending: batches with chain and tree, beside rows without."""
    with qpher_core.open(f"sqlite:///{folder}/append.db") as kms, rows(folder) as insert:
        log, store, tenant = StoredAuditLog(kms._store.audit, _now), kms._store, uuid.UUID(int=1)

        def append(count: int) -> None:
            results = [DRAFT.result] * count
            store.commit(lambda w: log.append_many(w.audit, tenant, DRAFT, results))

        subjects: dict[str, Subject] = {}
        for count in (100, 1000):
            subjects[f"rows {count}"] = partial(insert, count)
            subjects[f"append {count}"] = partial(append, count)
        report(APPENDING, rounds(subjects, 30), 100)


def export(folder: Path) -> tuple[Path, list[qpher_core.VerifierKey]]:
    """Write an export and return its keys."""
    path = folder / "export.jsonl"
    with qpher_core.open(f"sqlite:///{folder}/export.db") as kms:
        tenant = kms.tenants.create("acme")
        log, results = StoredAuditLog(kms._store.audit, _now), [DRAFT.result] * ENTRIES
        kms._store.commit(lambda w: log.append_many(w.audit, tenant.id, DRAFT, results))
        kms.audit.export(path, "acme")
        return path, list(map(qpher_core.VerifierKey.parse, kms.anchors.keys()))


def verifying(folder: Path) -> None:
    """Print the goals of verification, beside reading, SHA-256 and two parsers."""
    path, keys = export(folder)

    def bound(parse: Callable[[bytes], object]) -> None:
        with path.open("rb") as file:
            for line in file:
                hashlib.sha256(line).digest()
                parse(line)

    def verify(processes: int) -> None:
        if not qpher_core.verify_export(path, keys, processes=processes).ok:
            raise AssertionError("the export does not verify")

    subjects: dict[str, Subject] = {
        "json": lambda: bound(json.loads),
        "msgspec": lambda: bound(msgspec.json.decode),
        "verify 1": lambda: verify(1),
        "verify 2": lambda: verify(2),
    }
    report(VERIFYING, rounds(subjects, 3), ENTRIES)


PARTS: Final = {"sign": signing, "append": appending, "verify": verifying}


def main(names: Sequence[str]) -> int:
    """Print the tables that are asked for, all of them by default."""
    for name in names or PARTS:
        print(f"\n{name:<40}{'best':>9}{'middle':>9}")
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder))
    return 0


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
