# SPDX-License-Identifier: Apache-2.0
"""How a log of ten million entries compares with one of ten thousand: part of ``make audit-long``.

One SQLite store holds one log that grows. At both sizes the same is timed: appending a batch of
100 entries in one durable commit, and the inclusion proof of an entry at a random place. Printed
are medians and their ratios.
"""

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
ROUNDS = 200
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


def median(call: Callable[[], object]) -> float:
    """Return the median of some rounds in microseconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


def measure(kms: qpher_core.Qpher, tenant: qpher_core.Tenant, size: int) -> dict[str, float]:
    """Grow the log to a size and time both operations."""
    session = kms.session(tenant.id, actor="bench")
    store = kms._store
    while (left := size - store.audit.head(tenant.id)[0]) > 0:
        append(kms, tenant.id, min(left, STEP))
    appending = median(lambda: append(kms, tenant.id, 100))
    kms.anchors.publish(tenant)
    receipts = [
        next(iter(session.audit.entries(start=random.randrange(size), limit=1))).receipt
        for _ in range(ROUNDS)
    ]
    proving = median(lambda: session.audit.proof(receipts.pop()))
    return {"append 100": appending, "proof": proving}


def main() -> int:
    """Print the table; the exit status says whether both ratios are below 1.3."""
    settings = qpher_core.AnchorSettings(every_seconds=None)
    with (
        tempfile.TemporaryDirectory() as folder,
        qpher_core.open(f"sqlite:///{Path(folder)}/q.db", anchors=settings) as kms,
    ):
        tenant = kms.tenants.create("acme")
        small, large = (measure(kms, tenant, size) for size in SIZES)
    print(f"{'':<12}{SIZES[0]:>14,}{SIZES[1]:>14,}{'ratio':>8}")
    ratios = {name: large[name] / small[name] for name in small}
    for name, ratio in ratios.items():
        print(f"{name:<12}{small[name]:>11.1f} us{large[name]:>11.1f} us{ratio:>8.2f}")
    return int(max(ratios.values()) > 1.3)


if __name__ == "__main__":
    sys.exit(main())
