# SPDX-License-Identifier: Apache-2.0
"""A store in dictionaries: ``memory:``. Gone when it is closed."""

import contextlib
import functools
import threading
import uuid
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from qpher_core.audit.records import EMPTY_LOG, LogBase, LogState, StoredAnchor
from qpher_core.audit.tree import Subtree, grow, last_leaf, leaf_hash, stored_hash
from qpher_core.errors import IntegrityError, StateConflict, StoreUnavailable, ValidationError
from qpher_core.lifecycle import KeyState
from qpher_core.models import (
    ApiKeyRecord,
    AuditEntry,
    IdempotencyRecord,
    Intent,
    KeyRecord,
    KeyRef,
    PolicyDocument,
    Tenant,
)

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
        self.nodes: dict[uuid.UUID, list[bytes]] = {}
        self.peaks: dict[uuid.UUID, bytes] = {}
        self.bases: dict[uuid.UUID, LogBase] = {}
        self.anchors: dict[uuid.UUID, list[StoredAnchor]] = {}
        self.statements: list[str] = []
        self.service_keys: dict[KeyRef, KeyRecord] = {}
        self.tenants: dict[uuid.UUID, Tenant] = {}
        self.policies: dict[uuid.UUID | None, list[PolicyDocument]] = {}
        self.api_keys: dict[str, ApiKeyRecord] = {}
        self.idempotency: dict[tuple[uuid.UUID, bytes], IdempotencyRecord] = {}
        self.intents: dict[uuid.UUID, Intent] = {}

    def base(self, tenant_id: uuid.UUID) -> LogBase:
        """Return where a tenant's log begins."""
        return self.bases.get(tenant_id, EMPTY_LOG)

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
    """Implements ``KeyRecords`` and ``KeyRecordsWriter`` over one table of records."""

    def __init__(self, state: _State, table: dict[KeyRef, KeyRecord]) -> None:
        self._state = state
        self._table = table

    def get(self, ref: KeyRef) -> KeyRecord | None:
        with self._state.opened():
            return self._table.get(ref)

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
        after: KeyRef | None = None,
        limit: int | None = None,
    ) -> Sequence[KeyRecord]:
        with self._state.opened():
            records = [
                record
                for ref, record in self._table.items()
                if ref.tenant_id == tenant_id
                and name in {None, ref.name}
                and algorithm in {None, ref.algorithm}
                and state in {None, record.key.state}
                and (after is None or _order(ref) > _order(after))
            ]
        return sorted(records, key=lambda record: _order(record.key.ref))[:limit]

    def kek_ids(self) -> frozenset[str]:
        with self._state.opened():
            records = list(self._table.values())
        return frozenset(record.kek_id for record in records if record.sealed is not None)

    def next_version(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> int:
        versions = [r.key.version for r in self.find(tenant_id, name=name, algorithm=algorithm)]
        return max(versions, default=0) + 1

    def insert(self, record: KeyRecord) -> None:
        owned = self._table is self._state.keys
        if owned and record.key.ref.tenant_id not in self._state.tenants:
            raise StoreUnavailable("a key belongs to an existing tenant")
        if record.key.ref in self._table:
            raise StoreUnavailable("a key version exists once")
        self._check_one_active(record)
        self._state.put(self._table, record.key.ref, record)

    def replace(self, record: KeyRecord, *, revision: int) -> bool:
        current = self._table.get(record.key.ref)
        if current is None or current.key.revision != revision:
            return False
        self._check_one_active(record)
        self._state.put(self._table, record.key.ref, record)
        return True

    def _check_one_active(self, record: KeyRecord) -> None:
        ref = record.key.ref
        active = self.active(ref.tenant_id, ref.name, ref.algorithm)
        if record.key.state is KeyState.ACTIVE and active is not None and active.key.ref != ref:
            raise StateConflict(f"another version of {ref.algorithm} key {ref.name!r} is active")


def _order(ref: KeyRef) -> tuple[str, str, int]:
    return ref.name, ref.algorithm, ref.version


class _Audit:
    """Implements ``AuditRecords`` and ``AuditRecordsWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        with self._state.opened():
            entries, base = self._state.entries.get(tenant_id, []), self._state.base(tenant_id)
            return base.size + len(entries), entries[-1].hash if entries else base.head

    def read(
        self, tenant_id: uuid.UUID, *, start: int = 0, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        with self._state.opened():
            first = max(start - self._state.base(tenant_id).size, 0)
            end = None if limit is None else first + limit
            entries = self._state.entries.get(tenant_id, [])[first:end]
        return iter(entries)

    def base(self, tenant_id: uuid.UUID) -> LogBase | None:
        with self._state.opened():
            return self._state.bases.get(tenant_id)

    def move_out(self, base: LogBase, tenant_id: uuid.UUID, *, after: int) -> None:
        anchors = self._state.anchors.get(tenant_id, [])
        if self._state.base(tenant_id).size != after or base.size not in {a.size for a in anchors}:
            raise StateConflict("the log begins elsewhere by now, or there is no such anchor")
        state, moved = self._state, base.size - after
        state.put(state.entries, tenant_id, state.entries[tenant_id][moved:])
        state.put(state.nodes, tenant_id, state.nodes[tenant_id][moved:])
        self._state.put(self._state.bases, tenant_id, base)

    def append(self, entry: AuditEntry) -> None:
        entries = self._state.entries.setdefault(entry.tenant_id, [])
        if entry.seq != self._state.base(entry.tenant_id).size + len(entries):
            raise StoreUnavailable("an audit entry takes the next place")
        nodes = self._state.nodes.setdefault(entry.tenant_id, [])
        peaks = self._state.peaks.get(entry.tenant_id, b"")
        grown, completed = grow(entry.seq, peaks, leaf_hash(entry.body))
        self._state.push(entries, entry)
        self._state.push(nodes, completed)
        self._state.put(self._state.peaks, entry.tenant_id, grown)

    def state(self, tenant_id: uuid.UUID) -> LogState:
        with self._state.opened():
            return LogState(*self.head(tenant_id), self._state.peaks.get(tenant_id, b""))

    def subtrees(self, tenant_id: uuid.UUID, wanted: Sequence[Subtree]) -> list[bytes]:
        with self._state.opened():
            nodes, base = self._state.nodes.get(tenant_id, []), self._state.base(tenant_id)
            kept = base.kept
            if any(
                last_leaf(s) >= base.size + len(nodes)
                or (last_leaf(s) < base.size and s not in kept)
                for s in wanted
            ):
                raise IntegrityError("the log has no such subtree")
            return [kept.get(s) or stored_hash(nodes[last_leaf(s) - base.size], s) for s in wanted]


class _Anchors:
    """Implements ``AnchorRecords`` and ``AnchorRecordsWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def latest(self, tenant_id: uuid.UUID) -> StoredAnchor | None:
        with self._state.opened():
            anchors = self._state.anchors.get(tenant_id)
            return anchors[-1] if anchors else None

    def covering(self, tenant_id: uuid.UUID, size: int) -> StoredAnchor | None:
        return next(self.read(tenant_id, start=size), None)

    def read(self, tenant_id: uuid.UUID, *, start: int = 0) -> Iterator[StoredAnchor]:
        with self._state.opened():
            anchors = list(self._state.anchors.get(tenant_id, []))
        return (anchor for anchor in anchors if anchor.size >= start)

    def logs(self) -> Sequence[uuid.UUID]:
        with self._state.opened():
            sizes = {
                tenant: self._state.base(tenant).size + len(entries)
                for tenant, entries in self._state.entries.items()
            }
        anchored = {tenant: self.latest(tenant) for tenant in sizes}
        return [
            tenant
            for tenant, size in sizes.items()
            if size > (found.size if (found := anchored[tenant]) else 0)
        ]

    def statements(self) -> Sequence[str]:
        with self._state.opened():
            return list(self._state.statements)

    def insert(self, anchor: StoredAnchor) -> None:
        latest = self.latest(anchor.tenant_id)
        if latest is not None and latest.size >= anchor.size:
            raise StoreUnavailable("an anchor covers more entries than the one before it")
        self._state.push(self._state.anchors.setdefault(anchor.tenant_id, []), anchor)

    def add_statement(self, note: str) -> None:
        self._state.push(self._state.statements, note)


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

    def revision(self, tenant_id: uuid.UUID | None, number: int) -> PolicyDocument | None:
        with self._state.opened():
            documents = self._state.policies.get(tenant_id, [])
            return next((one for one in documents if one.revision == number), None)

    def insert(self, document: PolicyDocument) -> None:
        self._state.push(self._state.policies.setdefault(document.tenant_id, []), document)


class _Intents:
    """Implements ``IntentRecords`` and ``IntentRecordsWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def all(self) -> Sequence[Intent]:
        with self._state.opened():
            return list(self._state.intents.values())

    def add(self, intent: Intent) -> None:
        self._state.put(self._state.intents, intent.id, intent)

    def remove(self, intent_id: uuid.UUID) -> None:
        before = self._state.intents.pop(intent_id, None)
        if before is not None:
            intents = self._state.intents
            self._state.undo.append(lambda: intents.__setitem__(intent_id, before))


class _ApiKeys:
    """Implements ``ApiKeyRecords`` and ``ApiKeyRecordsWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def get(self, key_id: str) -> ApiKeyRecord | None:
        with self._state.opened():
            return self._state.api_keys.get(key_id)

    def find(self, tenant_id: uuid.UUID) -> Sequence[ApiKeyRecord]:
        with self._state.opened():
            found = [r for r in self._state.api_keys.values() if r.key.tenant_id == tenant_id]
        return sorted(found, key=lambda record: (record.key.name, record.key.version))

    def insert(self, record: ApiKeyRecord) -> None:
        key = record.key
        if key.tenant_id not in self._state.tenants:
            raise StoreUnavailable("an API key belongs to an existing tenant")
        taken = {(found.key.name, found.key.version) for found in self.find(key.tenant_id)}
        if key.id in self._state.api_keys or (key.name, key.version) in taken:
            raise StateConflict("this API key exists", code="ERR_CONFLICT_001")
        self._state.put(self._state.api_keys, key.id, record)

    def replace(self, record: ApiKeyRecord) -> None:
        if record.key.id in self._state.api_keys:
            self._state.put(self._state.api_keys, record.key.id, record)


class _Idempotency:
    """Implements ``IdempotencyRecords`` and ``IdempotencyRecordsWriter``."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def get(self, tenant_id: uuid.UUID, key_hash: bytes) -> IdempotencyRecord | None:
        with self._state.opened():
            return self._state.idempotency.get((tenant_id, key_hash))

    def put(self, record: IdempotencyRecord) -> None:
        self._state.put(self._state.idempotency, (record.tenant_id, record.key_hash), record)

    def forget(self, tenant_id: uuid.UUID, before: datetime) -> None:
        records = self._state.idempotency
        for address, record in list(records.items()):
            if address[0] == tenant_id and record.created_at < before:
                del records[address]
                self._state.undo.append(functools.partial(records.__setitem__, address, record))


class MemoryStore:
    """Implements ``Store`` and, inside a commit, ``StoreWriter``."""

    default_protector = "memory:"
    readers_wait = True
    local = True

    def __init__(self) -> None:
        self._state = _State()
        self.keys = _Keys(self._state, self._state.keys)
        self.service_keys = _Keys(self._state, self._state.service_keys)
        self.audit = _Audit(self._state)
        self.tenants = _Tenants(self._state)
        self.policies = _Policies(self._state)
        self.anchors = _Anchors(self._state)
        self.intents = _Intents(self._state)
        self.api_keys = _ApiKeys(self._state)
        self.idempotency = _Idempotency(self._state)

    def commit(
        self,
        work: "Callable[[MemoryStore], T]",
        *,
        tenant_id: uuid.UUID | None = None,  # noqa: ARG002 - one lock for all
    ) -> T:
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
                self._state.committing = False
                self._state.undo.clear()

    def close(self) -> None:
        """Refuse further work."""
        self._state.closed = True


def open_store(url: str) -> MemoryStore:
    """Open ``memory:``, a new store each time; the entry point."""
    if url != "memory:":
        raise ValidationError("url must be 'memory:'", parameter="url")
    return MemoryStore()
