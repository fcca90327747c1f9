# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises when it is closed, opened again, and opened by several at once."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from qpher_core.audit.log import verify_chain
from qpher_core.errors import StoreUnavailable
from qpher_core.lifecycle import KeyState
from qpher_core.models import PolicyDocument
from qpher_core.protocols import Store
from qpher_core.testing import open_target
from qpher_core.testing.records import (
    add_key,
    add_tenant,
    append,
    moved,
    new_record,
    replace,
)


def test_a_closed_store_refuses(store: Store) -> None:
    """A closed store refuses to write and to read, and may be closed again."""
    tenant = add_tenant(store)
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable):
        store.commit(lambda _: None)
    with pytest.raises(StoreUnavailable):
        store.tenants.get(tenant.id)
    with pytest.raises(StoreUnavailable):
        store.keys.find(tenant.id)
    with pytest.raises(StoreUnavailable):
        store.audit.head(tenant.id)
    with pytest.raises(StoreUnavailable):
        list(store.audit.read(tenant.id))
    with pytest.raises(StoreUnavailable):
        store.policies.get(None)


def test_what_was_committed_is_there_later(durable: Callable[[], Store]) -> None:
    """A durable store holds everything when it is opened again."""
    store = durable()
    tenant = add_tenant(store, plan="pro")
    record = add_key(store, new_record(tenant.id))
    entry = store.commit(lambda w: append(w, tenant.id))
    document = PolicyDocument(None, 1, "[]")
    store.commit(lambda w: w.policies.insert(document))
    store.close()

    again = durable()
    assert again.tenants.all() == [tenant]
    assert again.keys.find(tenant.id) == [record]
    assert list(again.audit.read(tenant.id)) == [entry]
    assert again.audit.head(tenant.id) == (1, entry.hash)
    assert again.policies.get(None) == document
    again.close()


def test_two_openings_see_each_other_at_once(shared_url: str) -> None:
    """What one opening commits, another reads in its very next call, and builds on."""
    one, two = open_target(shared_url), open_target(shared_url)
    tenant = add_tenant(one)
    assert two.tenants.get(tenant.id) == tenant
    record = add_key(two, new_record(tenant.id))
    for number in range(10):
        writing, reading = (one, two) if number % 2 else (two, one)
        entry = writing.commit(lambda w: append(w, tenant.id))
        assert reading.audit.head(tenant.id) == (number + 1, entry.hash)
        assert reading.keys.get(record.key.ref) == record
        record = moved(record, KeyState.SUSPENDED if number % 2 else KeyState.ACTIVE)
        last = record.key.revision - 1
        assert replace(writing, record, last)
        assert reading.keys.get(record.key.ref) == record
    one.close()
    two.close()


_CHILD = """
import sys, uuid
from qpher_core.testing import open_target
from qpher_core.testing.records import append
store = open_target(sys.argv[1])
tenant_id = uuid.UUID(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(40):
    store.commit(lambda writer: append(writer, tenant_id))
store.close()
"""


def test_two_processes_share_one_chain(shared_url: str, pytestconfig: pytest.Config) -> None:
    """Entries that two processes and this one append at once form one chain."""
    store = open_target(shared_url)
    tenant = add_tenant(store)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, shared_url, str(tenant.id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=pytestconfig.rootpath,
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    for _ in range(40):
        store.commit(lambda writer: append(writer, tenant.id))
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    size, head = store.audit.head(tenant.id)
    assert size == 120
    assert verify_chain(tenant.id, store.audit.read(tenant.id), size=size, head=head).ok
    store.close()
