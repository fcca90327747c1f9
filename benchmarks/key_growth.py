# SPDX-License-Identifier: Apache-2.0
"""What key operations cost as a store fills: ``key_growth.py [BACKEND ...]``.

For each durable store, at 10, 10,000 and 1,000,000 key versions (``QPHER_GROWTH`` names other
sizes): reading one version, the active one, a page, signing, and opening the store. Times
are medians; what counts is their growth within one run, which the last columns state.
"""

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import evolve

import qpher_core
from qpher_core import AnchorSettings
from qpher_core.discovery import open_protector, open_store
from qpher_core.lifecycle import KeyState
from qpher_core.models import KeyRecord, KeyRef, KeyVersion, Tenant
from qpher_core.protocols import Store, StoreWriter
from tests.contract.table import BACKENDS, backends
from tests.records import NOW, new_tenant

SIZES = [int(size) for size in os.environ.get("QPHER_GROWTH", "10,10000,1000000").split(",")]
BY_HAND = AnchorSettings(every_seconds=None)
KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"
VERSIONS = 10  # of each key; the last is active
TENANTS = 10
CHUNK = 2000  # versions in one commit
PAGE = VERSIONS - 1
ROUNDS = 200
COSTS = ("get", "active", "page", "sign", "open")


def _record(tenant: Tenant, number: int, kek_id: str) -> KeyRecord:
    """Return the ``number``-th record of a tenant; it has the size of a real one."""
    name, version = divmod(number, VERSIONS)
    ref = KeyRef(tenant.id, f"key-{name:06d}", KEM, version + 1)
    state = KeyState.ACTIVE if version == VERSIONS - 1 else KeyState.RETIRED
    key = KeyVersion(ref, state, os.urandom(1184), NOW, NOW, "", 1)
    return KeyRecord(key, kek_id, os.urandom(93))


def _fill(store: Store, size: int, kek_id: str) -> list[Tenant]:
    tenants = [new_tenant(f"tenant-{n}") for n in range(min(TENANTS, size // VERSIONS))]
    each = size // len(tenants)

    def insert(tenant: Tenant, numbers: range) -> Callable[[StoreWriter], None]:
        def work(writer: StoreWriter) -> None:
            if numbers.start == 0:
                writer.tenants.insert(tenant)
            for number in numbers:
                writer.keys.insert(_record(tenant, number, kek_id))

        return work

    for tenant in tenants:
        for first in range(0, each, CHUNK):
            store.commit(insert(tenant, range(first, min(first + CHUNK, each))))
    return tenants


def _median(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median duration in microseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


def _measure(store: Store, tenants: list[Tenant], size: int) -> Iterator[tuple[str, float]]:
    choose = random.Random(1)
    each = size // len(tenants)

    def ref() -> KeyRef:
        return _record(choose.choice(tenants), choose.randrange(each), "").key.ref

    refs = iter([ref() for _ in range(3 * ROUNDS)])

    def active() -> object:
        chosen = next(refs)
        return store.keys.active(chosen.tenant_id, chosen.name, KEM)

    def page() -> object:
        first = evolve(next(refs), version=1)  # what follows is as much in every store
        return store.keys.find(first.tenant_id, after=first, limit=PAGE)

    yield "get", _median(lambda: store.keys.get(next(refs)))
    yield "active", _median(active)
    yield "page", _median(page)


def measure(backend: str, size: int, folder: Path) -> dict[str, float]:
    """Fill a store with ``size`` key versions and return what each operation takes."""
    url = BACKENDS[backend].url(folder)
    store = open_store(url, parameter="url")
    guard = open_protector(store.default_protector, create=True)
    with qpher_core.open(store, protector=guard, anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="bench")
        session.keys.generate(SIGNATURE)
        tenants = _fill(store, size, guard.kek_id)
        costs = dict(_measure(store, tenants, size))
        costs["sign"] = _median(lambda: session.signatures.sign(b"m", algorithm=SIGNATURE))
    costs["open"] = _median(lambda: open_store(url, parameter="url").close(), 5)
    return costs


def main(names: list[str]) -> None:
    """Print a table for each store."""
    for backend in names or backends(durable=True, mixes=True):
        print(f"\n{backend:12}" + "".join(f"{cost:>12}" for cost in COSTS) + "   (microseconds)")
        first: dict[str, float] = {}
        for size in SIZES:
            folder = Path(tempfile.mkdtemp(prefix="qpher-growth-"))
            try:
                costs = measure(backend, size, folder)
                first = first or costs
                print(f"{size:12,}" + "".join(f"{costs[cost]:12.1f}" for cost in COSTS))
                growth = "".join(f"{costs[cost] / first[cost]:11.2f}x" for cost in COSTS)
                print(f"{'growth':12}" + growth, flush=True)
            finally:
                shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
