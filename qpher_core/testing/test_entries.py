# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises of audit entries."""

import pytest

from qpher_core.errors import StoreUnavailable
from qpher_core.models import Tenant
from qpher_core.protocols import Store
from qpher_core.testing.records import add_tenant, append


def test_entries_come_back_in_order(store: Store) -> None:
    """Entries are read unchanged, in order, and the head is that of the last."""
    tenant = add_tenant(store)
    written = [store.commit(lambda w: append(w, tenant.id)) for _ in range(5)]
    assert list(store.audit.read(tenant.id)) == written
    assert store.audit.head(tenant.id) == (5, written[-1].hash)


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [
        (0, None, range(2500)),
        (0, 0, range(0)),
        (0, 1, range(1)),
        (999, 2, range(999, 1001)),
        (1000, 1000, range(1000, 2000)),
        (500, 2000, range(500, 2500)),
        (500, 9999, range(500, 2500)),
        (2499, None, range(2499, 2500)),
        (2500, None, range(0)),
        (9999, 5, range(0)),
    ],
)
def test_reading_in_pages(
    long_store: tuple[Store, Tenant], start: int, limit: int | None, expected: range
) -> None:
    """Any part of a long log can be read, across whatever pages the backend reads in."""
    store, tenant = long_store
    seqs = [entry.seq for entry in store.audit.read(tenant.id, start=start, limit=limit)]
    assert seqs == list(expected)


def test_a_taken_place_in_the_log_is_refused(store: Store) -> None:
    """An entry cannot take the place of another."""
    tenant = add_tenant(store)
    entry = store.commit(lambda w: append(w, tenant.id))
    with pytest.raises(StoreUnavailable):
        store.commit(lambda w: w.audit.append(entry))
    assert list(store.audit.read(tenant.id)) == [entry]
    assert store.audit.head(tenant.id) == (1, entry.hash)
