# SPDX-License-Identifier: Apache-2.0
"""How often and when each key version was used, as the audit log tells.

Nothing is counted beside the log, so no counter can be lost, reset or disagree with it
(docs/decisions, scheduled rotation). What was read once is kept for as long as the process lives.
"""

import json
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol

from attrs import astuple, define, evolve, field, frozen

from qpher_core.audit.records import LogBase
from qpher_core.errors import IntegrityError
from qpher_core.lifecycle import PROTECT
from qpher_core.models import AuditEntry, KeyRef, canonical_json, rfc3339
from qpher_core.operations import OPERATIONS

__all__ = ["MIGRATE_FROM", "MIGRATE_TO", "OF_MIGRATIONS", "KeyUse", "LogUsage"]

#: Rows whose entries are about several values, and say in their reason how many.
MIGRATE_FROM: Final = "kem.migrate_from"
MIGRATE_TO: Final = "kem.migrate_to"

#: They belong to ``Session.migrate``, which enters the pipeline once for each batch and key.
OF_MIGRATIONS: Final = frozenset({MIGRATE_FROM, MIGRATE_TO})

_COUNTED: Final = OF_MIGRATIONS | {"kem.encrypt_field", "kem.decrypt_field"}

_LOGS: Final = 256  # tenants that are kept
_COUNT: Final = re.compile(r"([0-9]{1,9}) values; ")


@frozen
class KeyUse:
    """How one key version was used, in successful and recorded operations.

    Attributes:
        protected: how many values it encrypted, encapsulated, wrapped or signed.
        processed: how many it decrypted, decapsulated, unwrapped or verified; a migration's
            values are not among them.
        migrated: how many values were moved from it to another version.
        last_protected, last_processed, last_migrated: when it last did.
    """

    protected: int = 0
    processed: int = 0
    migrated: int = 0
    last_protected: datetime | None = None
    last_processed: datetime | None = None
    last_migrated: datetime | None = None

    @property
    def last_used(self) -> datetime | None:
        """When it was last used for anything."""
        moments = (self.last_protected, self.last_processed, self.last_migrated)
        return max((moment for moment in moments if moment is not None), default=None)


@define
class _Tally:
    """What was read of one log. Changed only under its lock."""

    lock: threading.Lock = field(factory=threading.Lock)
    read: int = 0
    uses: dict[tuple[str, str, int], KeyUse] = field(factory=dict)


class Entries(Protocol):
    """Reads logs, such as ``AuditLog.entries``."""

    def __call__(self, tenant_id: uuid.UUID, *, start: int) -> Iterable[AuditEntry]:
        """Return the entries of a tenant's log from a place on."""


class LogUsage:
    """Counts uses in logs. Thread-safe."""

    def __init__(
        self, entries: Entries, base: Callable[[uuid.UUID], LogBase | None] = lambda _: None
    ) -> None:
        self._entries = entries
        self._base = base
        self._tallies: OrderedDict[uuid.UUID, _Tally] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, ref: KeyRef) -> KeyUse:
        """Return the use of one key version until now; all zero for one that was never used."""
        return self.all(ref.tenant_id).get((ref.name, ref.algorithm, ref.version), KeyUse())

    def all(self, tenant_id: uuid.UUID) -> Mapping[tuple[str, str, int], KeyUse]:
        """Return the use of all of a tenant's key versions, by name, algorithm and version."""
        tally = self._tally(tenant_id)
        with tally.lock:
            self._begin(tally, tenant_id)
            while not self._read(tally, tenant_id):
                pass
            return dict(tally.uses)

    def summary(self, tenant_id: uuid.UUID, end: int, start: LogBase | None) -> bytes:
        """Return the use until entry ``end`` as canonical JSON, for what is moved out."""
        tally = _Tally()
        if start is not None:
            tally.read, tally.uses = start.size, _parse_uses(start.uses)
        for entry in islice(self._entries(tenant_id, start=tally.read), end - tally.read):
            _count(tally.uses, entry)
        items = [
            {"key": list(address), "use": [_text(value) for value in astuple(use)]}
            for address, use in sorted(tally.uses.items())
        ]
        return canonical_json({"uses": items})

    def _begin(self, tally: _Tally, tenant_id: uuid.UUID) -> bool:
        """Go on from the base, if what comes next was moved out."""
        base = self._base(tenant_id)
        if base is None or base.size <= tally.read:
            return False
        tally.read, tally.uses = base.size, _parse_uses(base.uses)
        return True

    def _read(self, tally: _Tally, tenant_id: uuid.UUID) -> bool:
        """Count what is new; False where some of it was moved out meanwhile."""
        for entry in self._entries(tenant_id, start=tally.read):
            if entry.seq > tally.read and self._begin(tally, tenant_id):
                return False
            _count(tally.uses, entry)
            tally.read = entry.seq + 1
        return True

    def _tally(self, tenant_id: uuid.UUID) -> _Tally:
        with self._lock:
            tally = self._tallies.setdefault(tenant_id, _Tally())
            self._tallies.move_to_end(tenant_id)
            while len(self._tallies) > _LOGS:
                self._tallies.popitem(last=False)
            return tally


def _parse_uses(uses: bytes) -> dict[tuple[str, str, int], KeyUse]:
    """Return the use of key versions from its canonical JSON.

    Raises:
        IntegrityError: it is none.
    """
    try:
        return dict(_use_of(item) for item in json.loads(uses)["uses"])
    except (KeyError, TypeError, ValueError):
        message = "the recorded uses of entries that were moved out are malformed: altered"
        raise IntegrityError(message) from None


def _use_of(item: Mapping[str, Any]) -> tuple[tuple[str, str, int], KeyUse]:
    name, algorithm, version = item["key"]
    *numbers, protected, processed, migrated = item["use"]
    moments = (m and datetime.fromisoformat(m) for m in (protected, processed, migrated))
    return (name, algorithm, version), KeyUse(*numbers, *moments)


def _text(value: object) -> object:
    return rfc3339(value) if isinstance(value, datetime) else value


def _count(uses: dict[tuple[str, str, int], KeyUse], entry: AuditEntry) -> None:
    """Count one entry.

    Raises:
        IntegrityError: it is none; what is counted stays as it was.
    """
    try:
        _count_fields(uses, entry.fields)
    except (KeyError, TypeError, ValueError):
        message = f"entry {entry.seq} of the audit log is malformed: it was altered"
        raise IntegrityError(message) from None


def _count_fields(uses: dict[tuple[str, str, int], KeyUse], fields: Mapping[str, Any]) -> None:
    key, row = fields["key"], OPERATIONS.get(fields["action"])
    if key is None or row is None or row.kind is None or fields["outcome"] != "success":
        return
    address = (key["name"], key["algorithm"], key["version"])
    use, when = uses.get(address, KeyUse()), datetime.fromisoformat(fields["time"])
    number = _values(row.action, fields["reason"])
    if row.action == MIGRATE_FROM:
        uses[address] = evolve(use, migrated=use.migrated + number, last_migrated=when)
    elif row.states == PROTECT:
        uses[address] = evolve(use, protected=use.protected + number, last_protected=when)
    else:
        uses[address] = evolve(use, processed=use.processed + number, last_processed=when)


def _values(action: str, reason: str) -> int:
    """Return how many values an entry is about."""
    if action not in _COUNTED:
        return 1
    found = _COUNT.match(reason)
    return int(found.group(1)) if found else 0
