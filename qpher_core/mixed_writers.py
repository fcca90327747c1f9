# SPDX-License-Identifier: Apache-2.0
"""What work gets in a commit of two stores: the writers of both, and what it made of them."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from qpher_core.models import AuditEntry
from qpher_core.protocols import AuditRecordsWriter, ParticipantWriter, Store

__all__ = ["MixedAnchors", "MixedWriter", "Recorder"]

#: Methods of writers that only read; any other counts as a change.
_READS: Final = frozenset({"get", "active", "next_version", "find"})


class _Watched:
    """One of the writers of a transaction; tells when it is used for writing."""

    def __init__(self, writer: object, written: Callable[[], None]) -> None:
        self._writer = writer
        self._written = written

    def __getattr__(self, name: str) -> Any:
        if name not in _READS:
            self._written()
        return getattr(self._writer, name)


class _WatchedAudit:
    """The audit writer of a transaction; remembers which entries are appended."""

    def __init__(self, writer: AuditRecordsWriter) -> None:
        self._writer = writer
        self.entries: list[tuple[uuid.UUID, int]] = []

    def append(self, entry: AuditEntry) -> None:
        self._writer.append(entry)
        self.entries.append((entry.tenant_id, entry.seq))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class MixedAnchors:
    """Anchors of the audit store; the statements about the keys that sign them are with those."""

    def __init__(self, anchors: Any, statements: Any) -> None:
        self._anchors = anchors
        self._statements = statements

    def statements(self) -> Sequence[str]:
        """Return them, from the store of the keys."""
        found: Sequence[str] = self._statements.statements()
        return found

    def add_statement(self, note: str) -> None:
        """Add one, to the store of the keys."""
        self._statements.add_statement(note)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._anchors, name)


class MixedWriter:
    """Implements ``StoreWriter`` on a transaction of each of the two stores."""

    def __init__(self, keys: ParticipantWriter, audit: ParticipantWriter) -> None:
        self.changed = False

        def watched(writer: object) -> Any:
            return _Watched(writer, self._change)

        self.keys = watched(keys.keys)
        self.service_keys = watched(keys.service_keys)
        self.tenants = watched(keys.tenants)
        self.policies = watched(keys.policies)
        self.api_keys = watched(keys.api_keys)
        self.idempotency = watched(keys.idempotency)
        self.audit = _WatchedAudit(audit.audit)
        self.anchors = MixedAnchors(audit.anchors, watched(keys.anchors))

    def _change(self) -> None:
        self.changed = True


class Recorder:
    """A ``StoreWriter`` that only appends to the log; keys, tenants and policies can be read."""

    def __init__(self, keys: Store, audit: ParticipantWriter) -> None:
        self.keys = keys.keys
        self.service_keys = keys.service_keys
        self.tenants = keys.tenants
        self.policies = keys.policies
        self.api_keys = keys.api_keys
        self.idempotency = keys.idempotency
        self.audit = audit.audit
        self.anchors = audit.anchors
