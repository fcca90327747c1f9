# SPDX-License-Identifier: Apache-2.0
"""How a log of ten million entries compares with one of ten thousand: part of ``make audit-long``.

Two SQLite stores hold a log each. They take turns at appending a batch of 100 entries in one
durable commit, and at the inclusion proof of an entry at a random place. Printed are medians and
their ratios.

Warm is what a service keeps that has proved 20,000 entries at random places of its log, each log in
its own service: the hashes of large subtrees that those paths had (about all but one of a path of
ten million entries), and the anchor, one for all of them. Not warm is what the commit before each
proof drops, which are the pages that SQLite's connections have read. QPHER_GROWTH_WARM sets another
number of proofs, 0 for a service that has just started.
"""

import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import qpher_core
from qpher_core.audit.entry import EntryDraft, KeyAddress
from qpher_core.audit.log import StoredAuditLog

SIZES = (10_000, int(os.environ.get("QPHER_GROWTH_ENTRIES", "10000000")))
ROUNDS = 500
WARM = int(os.environ.get("QPHER_GROWTH_WARM", "20000"))
STEP = 10_000
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


def append(kms: qpher_core.Qpher, tenant_id: uuid.UUID, count: int) -> None:
    """Append entries in one durable commit."""
    store, results = kms._store, [DRAFT.result] * count
    log = StoredAuditLog(store.audit, lambda: datetime.now(UTC))
    store.commit(lambda writer: log.append_many(writer.audit, tenant_id, DRAFT, results))


class Log:
    """A log of a number of entries, in a store of its own."""

    def __init__(self, kms: qpher_core.Qpher, size: int) -> None:
        self.kms, self.size = kms, size
        self.tenant = kms.tenants.create("acme")
        self._audit = kms.session(self.tenant.id, actor="bench").audit
        self.times: dict[str, list[float]] = {"append 100": [], "proof": []}
        while (left := size - kms._store.audit.head(self.tenant.id)[0]) > 0:
            append(kms, self.tenant.id, min(left, STEP))

    def round(self) -> None:
        """Time both operations once; the anchor that the proof needs is there before."""
        self._timed("append 100", lambda: append(self.kms, self.tenant.id, 100))
        self.kms.anchors.publish(self.tenant)
        receipt = self._receipt()
        self._timed("proof", lambda: self._audit.proof(receipt))

    def warm(self) -> None:
        """Prove entries before anything is timed; see the module."""
        self.kms.anchors.publish(self.tenant)
        for _ in range(WARM):
            self._audit.proof(self._receipt())

    def _receipt(self) -> qpher_core.Receipt:
        (entry,) = self._audit.entries(start=random.randrange(self.size), limit=1)
        return entry.receipt

    def _timed(self, name: str, call: Callable[[], object]) -> None:
        start = time.perf_counter()
        call()
        self.times[name].append((time.perf_counter() - start) * 1e6)


def main() -> int:
    """Print the table; the exit status says whether both ratios are below 1.3."""
    settings = qpher_core.AnchorSettings(every_seconds=None)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        logs = []
        for size in SIZES:
            url = f"sqlite:///{Path(folder)}/{size}.db"
            kms = stack.enter_context(qpher_core.open(url, anchors=settings))
            logs.append(Log(kms, size))
        for log in logs:
            log.warm()
        for _ in range(ROUNDS):
            for log in logs:
                log.round()
        small, large = (
            {name: statistics.median(found) for name, found in log.times.items()} for log in logs
        )
    print(f"{'':<12}{SIZES[0]:>14,}{SIZES[1]:>14,}{'ratio':>8}")
    ratios = {name: large[name] / small[name] for name in small}
    for name, ratio in ratios.items():
        print(f"{name:<12}{small[name]:>11.1f} us{large[name]:>11.1f} us{ratio:>8.2f}")
    return int(max(ratios.values()) > 1.3)


if __name__ == "__main__":
    sys.exit(main())
