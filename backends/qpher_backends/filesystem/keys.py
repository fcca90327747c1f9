# SPDX-License-Identifier: Apache-2.0
"""Key records as documents, one for each version, and one that tells which version is active.

    keys/<tenant>/<name>.<algorithm>/<version>.json
    keys/<tenant>/<name>.<algorithm>/key.json
    keys/keks.json                      how many records each key encryption key seals

The service's own keys are below ``service-keys`` in the same form.
"""

import base64
import bisect
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from qpher_backends.filesystem.names import (
    algorithm_component,
    component,
    decoded_algorithm,
    decoded_name,
)
from qpher_backends.filesystem.tables import tenant_path
from qpher_backends.filesystem.view import Look, Transaction, View
from qpher_core.errors import IntegrityError, StateConflict, StoreUnavailable
from qpher_core.lifecycle import KeyState
from qpher_core.models import (
    KeyRecord,
    KeyRef,
    KeyVersion,
    optional_moment,
    optional_rfc3339,
    rfc3339,
)

__all__ = ["KEYS", "SERVICE_KEYS", "KeyTable", "KeyWriter"]

KEYS: Final = "keys"
SERVICE_KEYS: Final = "service-keys"

_HEAD: Final = "key.json"
_TENANT: Final = "tenant.json"


@frozen
class _Key:
    """The document that all versions of a key share; ``active`` is 0 where none is."""

    name: str
    algorithm: str
    highest: int
    active: int


class KeyTable:
    """Implements ``KeyRecords`` over one of the two trees of keys."""

    def __init__(self, look: Look, tree: str = KEYS) -> None:
        self._look = look
        self._tree = tree

    def get(self, ref: KeyRef) -> KeyRecord | None:
        """Return one record."""
        return self._look(lambda view: self._get(view, ref))

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyRecord | None:
        """Return the active version."""
        return self._look(lambda view: self._active(view, tenant_id, name, algorithm))

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
        """Return the records that match."""
        start = None if after is None else (after.name, after.algorithm)

        def look(view: View) -> list[KeyRecord]:
            found: list[KeyRecord] = []
            for key in self._keys(view, tenant_id, name, algorithm, start):
                begin = after.version + 1 if after is not None and key == start else 0
                for version in self._versions(view, tenant_id, key, state):
                    if limit is not None and len(found) >= limit:
                        return found
                    if version < begin:
                        continue
                    record = self._get(view, KeyRef(tenant_id, *key, version))
                    if record is not None and state in {None, record.key.state}:
                        found.append(record)
            return found

        return self._look(look)

    def kek_ids(self) -> frozenset[str]:
        """Return the ids of all key encryption keys in use."""
        return frozenset(self._look(self._keks))

    # --- how -----------------------------------------------------------------------------------

    def _folder(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> str:
        return f"{self._tree}/{tenant_id}/{_component(name, algorithm)}"

    def _path(self, ref: KeyRef) -> str:
        folder = self._folder(ref.tenant_id, ref.name, ref.algorithm)
        return f"{folder}/{ref.version:010d}.json"

    def _get(self, view: View, ref: KeyRef) -> KeyRecord | None:
        record = view.read(self._path(ref), _parser(ref))
        if record is None:
            self._check_there(view, ref.tenant_id)
        return record

    def _active(
        self, view: View, tenant_id: uuid.UUID, name: str, algorithm: str
    ) -> KeyRecord | None:
        head = self._head(view, tenant_id, name, algorithm)
        if head is None or not head.active:
            return None
        record = self._get(view, KeyRef(tenant_id, name, algorithm, head.active))
        if record is None or record.key.state is not KeyState.ACTIVE:
            raise IntegrityError(f"the {algorithm} key {name!r} names another version as active")
        return record

    def _head(self, view: View, tenant_id: uuid.UUID, name: str, algorithm: str) -> _Key | None:
        folder = self._folder(tenant_id, name, algorithm)

        head = view.read(f"{folder}/{_HEAD}", _key_of(folder))
        if head is None:
            self._check_there(view, tenant_id)
            if view.names(folder):
                raise IntegrityError(f"{folder}/{_HEAD} is gone")
        return head

    def _check_there(self, view: View, tenant_id: uuid.UUID) -> None:
        """Refuse if a tenant's keys are gone altogether: none is not the same as unknown."""
        if self._tree != KEYS or not view.exists(tenant_path(tenant_id)):
            return
        if not view.exists(f"{self._tree}/{tenant_id}/{_TENANT}"):
            raise StoreUnavailable(f"the keys of tenant {tenant_id} are gone")

    def _keys(
        self,
        view: View,
        tenant_id: uuid.UUID,
        name: str | None,
        algorithm: str | None,
        start: tuple[str, str] | None,
    ) -> Iterator[tuple[str, str]]:
        """Yield name and algorithm of the keys of a tenant that match, in order, from ``start``."""
        if name is not None and algorithm is not None:
            head = self._head(view, tenant_id, name, algorithm)
            if head is not None and (name, algorithm) >= (start or ("", "")):
                yield name, algorithm
            return
        folder = f"{self._tree}/{tenant_id}"

        def decode(entries: list[str]) -> list[tuple[str, str]]:
            return sorted(self._named(view, folder, entry) for entry in entries if entry != _TENANT)

        keys = view.listing(folder, decode)
        if not keys:
            self._check_there(view, tenant_id)
        for place in range(bisect.bisect_left(keys, start or ("", "")), len(keys)):
            if name in {None, keys[place][0]} and algorithm in {None, keys[place][1]}:
                yield keys[place]

    def _named(self, view: View, folder: str, entry: str) -> tuple[str, str]:
        first, _, second = entry.partition(".")
        name, algorithm = decoded_name(first), decoded_algorithm(second)
        if name is not None and algorithm is not None:
            return name, algorithm
        head = view.read(f"{folder}/{entry}/{_HEAD}", _key_of(entry))
        if head is None:
            raise IntegrityError(f"{folder}/{entry}/{_HEAD} is gone")
        return head.name, head.algorithm

    def _versions(
        self, view: View, tenant_id: uuid.UUID, key: tuple[str, str], state: KeyState | None
    ) -> list[int]:
        if state is KeyState.ACTIVE:
            head = self._head(view, tenant_id, *key)
            return [head.active] if head is not None and head.active else []
        return view.listing(self._folder(tenant_id, *key), _numbers)

    def _keks(self, view: View) -> dict[str, int]:
        return view.read(f"{self._tree}/keks.json", _counts) or {}


class KeyWriter(KeyTable):
    """Implements ``KeyRecordsWriter``."""

    def __init__(self, transaction: Transaction, tree: str = KEYS) -> None:
        super().__init__(lambda function: function(transaction), tree)
        self._transaction = transaction
        self.erased = False  #: whether the transaction removes a sealed seed

    def next_version(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> int:
        """Return one more than the highest version that ever existed."""
        head = self._head(self._transaction, tenant_id, name, algorithm)
        return 1 if head is None else head.highest + 1

    def insert(self, record: KeyRecord) -> None:
        """Add a record."""
        ref = record.key.ref
        if self._tree == KEYS and not self._transaction.exists(tenant_path(ref.tenant_id)):
            raise StoreUnavailable("a key belongs to an existing tenant")
        if self.get(ref) is not None:
            raise StoreUnavailable("a key version exists once")
        self._write(record, None)

    def replace(self, record: KeyRecord, *, revision: int) -> bool:
        """Compare-and-swap on the revision."""
        current = self.get(record.key.ref)
        if current is None or current.key.revision != revision:
            return False
        self._write(record, current)
        self.erased |= current.sealed is not None and record.sealed is None
        return True

    def _write(self, record: KeyRecord, before: KeyRecord | None) -> None:
        ref = record.key.ref
        self._write_head(ref, active=record.key.state is KeyState.ACTIVE)
        self._transaction.write(self._path(ref), _document(record))
        old = None if before is None or before.sealed is None else before.kek_id
        new = None if record.sealed is None else record.kek_id
        if old != new:
            self._count(old, new)

    def _write_head(self, ref: KeyRef, *, active: bool) -> None:
        head = self._head(self._transaction, ref.tenant_id, ref.name, ref.algorithm)
        highest, now = (0, 0) if head is None else (head.highest, head.active)
        if active and now not in {0, ref.version}:
            raise StateConflict(f"another version of {ref.algorithm} key {ref.name!r} is active")
        if active:
            now = ref.version
        elif now == ref.version:
            now = 0
        changed = _Key(ref.name, ref.algorithm, max(highest, ref.version), now)
        if changed != head:
            folder = self._folder(ref.tenant_id, ref.name, ref.algorithm)
            self._transaction.write(
                f"{folder}/{_HEAD}",
                {
                    "name": ref.name,
                    "algorithm": ref.algorithm,
                    "highest": changed.highest,
                    "active": changed.active,
                },
            )

    def _count(self, old: str | None, new: str | None) -> None:
        counts = dict(self._keks(self._transaction))
        if old is not None:
            if old not in counts:
                raise IntegrityError(f"{self._tree}/keks.json lacks the KEK {old}: it was altered")
            counts[old] -= 1
        if new is not None:
            counts[new] = counts.get(new, 0) + 1
        left = {kek_id: count for kek_id, count in counts.items() if count > 0}
        self._transaction.write(f"{self._tree}/keks.json", left)


def _component(name: str, algorithm: str) -> str:
    return f"{component(name)}.{algorithm_component(algorithm)}"


def _numbers(names: list[str]) -> list[int]:
    return [int(name.removesuffix(".json")) for name in names if name != _HEAD]


def _key_of(folder: str) -> Callable[[Mapping[str, Any]], _Key]:
    """Return what parses the document of the key of a directory, and refuses any other."""

    def parse(document: Mapping[str, Any]) -> _Key:
        name, algorithm = str(document["name"]), str(document["algorithm"])
        if _component(name, algorithm) != folder.rpartition("/")[2]:
            raise ValueError("this is the document of another key")
        return _Key(name, algorithm, int(document["highest"]), int(document["active"]))

    return parse


def _counts(document: Mapping[str, Any]) -> dict[str, int]:
    return {str(kek_id): int(count) for kek_id, count in document.items()}


def _document(record: KeyRecord) -> dict[str, Any]:
    key = record.key
    sealed = None if record.sealed is None else base64.b64encode(record.sealed).decode()
    return {
        "tenant": str(key.ref.tenant_id),
        "name": key.name,
        "algorithm": key.algorithm,
        "version": key.version,
        "state": str(key.state),
        "public_key": base64.b64encode(key.public_key).decode(),
        "created_at": rfc3339(key.created_at),
        "changed_at": rfc3339(key.changed_at),
        "reason": key.reason,
        "revision": key.revision,
        "compromised_at": optional_rfc3339(key.compromised_at),
        "kek": record.kek_id,
        "sealed": sealed,
    }


def _parser(ref: KeyRef) -> Callable[[Mapping[str, Any]], KeyRecord]:
    """Return what parses the record of one version, and refuses that of any other."""

    def parse(document: Mapping[str, Any]) -> KeyRecord:
        found = KeyRef(
            uuid.UUID(document["tenant"]),
            document["name"],
            document["algorithm"],
            document["version"],
        )
        if found != ref:
            raise ValueError("this is the record of another version")
        sealed = document["sealed"]
        key = KeyVersion(
            ref,
            KeyState(document["state"]),
            base64.b64decode(document["public_key"], validate=True),
            datetime.fromisoformat(document["created_at"]),
            datetime.fromisoformat(document["changed_at"]),
            str(document["reason"]),
            int(document["revision"]),
            optional_moment(document.get("compromised_at")),
        )
        plain = None if sealed is None else base64.b64decode(sealed, validate=True)
        return KeyRecord(key, str(document["kek"]), plain)

    return parse
