# SPDX-License-Identifier: Apache-2.0
"""A store in dictionaries: ``memory:``. Gone when it is closed."""

import contextlib
import threading
import uuid
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.errors import StateConflict, StoreUnavailable, ValidationError
from qpher_core.lifecycle import KeyState
from qpher_core.models import AuditEntry, KeyRecord, KeyRef, PolicyDocument, Tenant

__all__ = ["MemoryStore", "open_store"]

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _State:
    """The data, its lock, and how to undo what the transaction under way has written."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.closed = False
        self.committing = False
        self.undo: list[Callable[[], None]] = []
        self.keys: dict[KeyRef, KeyRecord] = {}
        self.entries: dict[uuid.UUID, list[AuditEntry]] = {}
        self.tenants: dict[uuid.UUID, Tenant] = {}
        self.policies: dict[uuid.UUID | None, list[PolicyDocument]] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the lock of a store that is not closed."""
        with self.lock:
            if self.closed:
                raise StoreUnavailable("the store is closed")
            yield

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Set an item, undoably."""
        if key in table:
            before = table[key]
            self.undo.append(lambda: table.__setitem__(key, before))
        else:
            self.undo.append(lambda: table.__delitem__(key))
        table[key] = value

    def push(self, items: list[V], value: V) -> None:
        """Append an item, undoably."""
        items.append(value)
        self.undo.append(lambda: items.__delitem__(-1))


class _Keys:
    """Implements ``KeyRecords`` and ``KeyRecordsWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def get(self, ref: KeyRef) -> KeyRecord | None:
        with self._state.opened():
            return self._state.keys.get(ref)

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyRecord | None:
        found = self.find(tenant_id, name=name, algorithm=algorithm, state=KeyState.ACTIVE)
        return found[0] if found else None

    def find(
        self,
        tenant_id: uuid.UUID,
        *,
        name: str | None = None,
        algorithm: str | None = None,
        state: KeyState | None = None,
    ) -> Sequence[KeyRecord]:
        with self._state.opened():
            records = [
                record
                for ref, record in self._state.keys.items()
                if ref.tenant_id == tenant_id
                and name in {None, ref.name}
                and algorithm in {None, ref.algorithm}
                and state in {None, record.key.state}
            ]
        return sorted(records, key=lambda r: (r.key.name, r.key.algorithm, r.key.version))

    def kek_ids(self) -> frozenset[str]:
        with self._state.opened():
            records = list(self._state.keys.values())
        return frozenset(record.kek_id for record in records if record.sealed is not None)

    def next_version(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> int:
        versions = [r.key.version for r in self.find(tenant_id, name=name, algorithm=algorithm)]
        return max(versions, default=0) + 1

    def insert(self, record: KeyRecord) -> None:
        if record.key.ref.tenant_id not in self._state.tenants:
            raise StoreUnavailable("a key belongs to an existing tenant")
        if record.key.ref in self._state.keys:
            raise StoreUnavailable("a key version exists once")
        self._check_one_active(record)
        self._state.put(self._state.keys, record.key.ref, record)

    def replace(self, record: KeyRecord, *, revision: int) -> bool:
        current = self._state.keys.get(record.key.ref)
        if current is None or current.key.revision != revision:
            return False
        self._check_one_active(record)
        self._state.put(self._state.keys, record.key.ref, record)
        return True

    def _check_one_active(self, record: KeyRecord) -> None:
        ref = record.key.ref
        active = self.active(ref.tenant_id, ref.name, ref.algorithm)
        if record.key.state is KeyState.ACTIVE and active is not None and active.key.ref != ref:
            raise StateConflict(f"another version of {ref.algorithm} key {ref.name!r} is active")


class _Audit:
    """Implements ``AuditRecords`` and ``AuditRecordsWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        with self._state.opened():
            entries = self._state.entries.get(tenant_id, [])
            return len(entries), entries[-1].hash if entries else EMPTY_HEAD

    def read(
        self, tenant_id: uuid.UUID, *, start: int = 0, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        end = None if limit is None else start + limit
        with self._state.opened():
            entries = self._state.entries.get(tenant_id, [])[start:end]
        return iter(entries)

    def append(self, entry: AuditEntry) -> None:
        entries = self._state.entries.setdefault(entry.tenant_id, [])
        if entry.seq != len(entries):
            raise StoreUnavailable("an audit entry takes the next place")
        self._state.push(entries, entry)


class _Tenants:
    """Implements ``TenantDirectory`` and ``TenantDirectoryWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def get(self, tenant_id: uuid.UUID) -> Tenant | None:
        with self._state.opened():
            return self._state.tenants.get(tenant_id)

    def by_name(self, name: str) -> Tenant | None:
        return next((tenant for tenant in self.all() if tenant.name == name), None)

    def all(self) -> Sequence[Tenant]:
        with self._state.opened():
            return sorted(self._state.tenants.values(), key=lambda tenant: tenant.name)

    def insert(self, tenant: Tenant) -> None:
        if self.by_name(tenant.name) is not None:
            raise StateConflict(f"a tenant named {tenant.name!r} exists", code="ERR_CONFLICT_001")
        self._state.put(self._state.tenants, tenant.id, tenant)

    def replace(self, tenant: Tenant) -> None:
        self._state.put(self._state.tenants, tenant.id, tenant)


class _Policies:
    """Implements ``PolicyRecords`` and ``PolicyRecordsWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        with self._state.opened():
            documents = self._state.policies.get(tenant_id)
            return documents[-1] if documents else None

    def insert(self, document: PolicyDocument) -> None:
        self._state.push(self._state.policies.setdefault(document.tenant_id, []), document)


class MemoryStore:
    """Implements ``Store`` and, inside a commit, ``StoreWriter``."""

    default_protector = "memory:"

    def __init__(self) -> None:
        self._state = _State()
        self.keys = _Keys(self._state)
        self.audit = _Audit(self._state)
        self.tenants = _Tenants(self._state)
        self.policies = _Policies(self._state)

    def commit(self, work: "Callable[[MemoryStore], T]") -> T:
        """Run ``work`` under the lock; undo what it wrote if it raises."""
        with self._state.opened():
            if self._state.committing:
                raise RuntimeError("work must not commit: it is inside a commit already")
            self._state.committing = True
            try:
                return work(self)
            except BaseException:
                while self._state.undo:
                    self._state.undo.pop()()
                raise
            finally:
                self._state.undo.clear()
                self._state.committing = False

    def close(self) -> None:
        """Refuse further work."""
        self._state.closed = True


def open_store(url: str) -> MemoryStore:
    """Open ``memory:``, a new store each time; the entry point."""
    if url != "memory:":
        raise ValidationError("url must be 'memory:'", parameter="url")
    return MemoryStore()
