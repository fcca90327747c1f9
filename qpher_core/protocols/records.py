# SPDX-License-Identifier: Apache-2.0
"""Records: what a store keeps, and how it is read and, in a transaction, written."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from qpher_core.audit.records import LogBase, LogState, StoredAnchor
from qpher_core.audit.tree import Subtree
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

__all__ = [
    "AnchorRecords",
    "AnchorRecordsWriter",
    "ApiKeyRecords",
    "ApiKeyRecordsWriter",
    "AuditRecords",
    "AuditRecordsWriter",
    "IdempotencyRecords",
    "IdempotencyRecordsWriter",
    "IntentRecords",
    "IntentRecordsWriter",
    "KeyRecords",
    "KeyRecordsWriter",
    "PolicyRecords",
    "PolicyRecordsWriter",
    "TenantDirectory",
    "TenantDirectoryWriter",
]


class KeyRecords(Protocol):
    """Key records, for reading. Errors: ``StoreUnavailable``."""

    def get(self, ref: KeyRef) -> KeyRecord | None:
        """Return one record."""

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyRecord | None:
        """Return the active version, of which there is at most one."""

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
        """Return the records that match, ordered by name, algorithm and version.

        Names and algorithms are ordered by code point. With ``after`` only what follows this
        address, with ``limit`` at most so many: a page costs what it holds.
        """

    def kek_ids(self) -> frozenset[str]:
        """Return the ids of all key encryption keys that records in this store need."""


class KeyRecordsWriter(Protocol):
    """Key records inside a transaction. Reads see the transaction's own writes."""

    def get(self, ref: KeyRef) -> KeyRecord | None:
        """Return one record."""

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyRecord | None:
        """Return the active version."""

    def next_version(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> int:
        """Return one more than the highest version that ever existed, from 1."""

    def insert(self, record: KeyRecord) -> None:
        """Add a record. Raises ``StateConflict`` if a second one would become active."""

    def replace(self, record: KeyRecord, *, revision: int) -> bool:
        """Compare-and-swap: overwrite the record if its stored revision is ``revision``.

        Returns False, and changes nothing, if it is not. The new record has the next revision,
        or the same one where nothing but its seal changes. Raises ``StateConflict`` if a second
        version would become active. The public key and creation time never change.
        """


class AuditRecords(Protocol):
    """Audit entries, for reading. Errors: ``StoreUnavailable``."""

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last); ``(0, 32 zero bytes)`` when empty."""

    def read(
        self, tenant_id: uuid.UUID, *, start: int = 0, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        """Yield entries as they are stored, from ``start``, unchecked, in constant memory.

        Entries that were moved out are not among them.
        """

    def base(self, tenant_id: uuid.UUID) -> LogBase | None:
        """Return where the log begins in this store, or None if nothing was moved out."""

    def state(self, tenant_id: uuid.UUID) -> LogState:
        """Return size, head and peaks of the log, all of one commit."""

    def subtrees(self, tenant_id: uuid.UUID, wanted: Sequence[Subtree]) -> list[bytes]:
        """Return the stored hashes of complete subtrees of the log's Merkle tree, 32 bytes each.

        One read for all of them, however long the log. Of those before the base only its peaks
        are there. Raises ``IntegrityError`` if the log has no such subtree.
        """


class AuditRecordsWriter(Protocol):
    """Audit entries inside a transaction. No method changes one, or removes one of the last."""

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last)."""

    def append(self, entry: AuditEntry) -> None:
        """Add the entry, whose ``seq`` is the current number of entries.

        The Merkle tree grows with it, in the same transaction (``qpher_core.audit.tree.grow``):
        the store keeps the new peaks and the hashes of the subtrees that the entry completes.
        """

    def move_out(self, base: LogBase, tenant_id: uuid.UUID, *, after: int) -> None:
        """Let the log begin at ``base``, and remove the entries before it.

        Raises:
            StateConflict: it does not begin at ``after`` any more, or no anchor has this size.
        """


class AnchorRecords(Protocol):
    """Published anchors and the statements of their keys. Errors: ``StoreUnavailable``."""

    def latest(self, tenant_id: uuid.UUID) -> StoredAnchor | None:
        """Return the anchor that covers most entries."""

    def covering(self, tenant_id: uuid.UUID, size: int) -> StoredAnchor | None:
        """Return the smallest anchor of at least ``size`` entries."""

    def read(self, tenant_id: uuid.UUID, *, start: int = 0) -> Iterator[StoredAnchor]:
        """Yield the anchors of at least ``start`` entries, by size, in constant memory."""

    def logs(self) -> Sequence[uuid.UUID]:
        """Return the tenants whose log has an entry beyond its last anchor."""

    def statements(self) -> Sequence[str]:
        """Return the rotation statements of the anchor keys, oldest first."""


class AnchorRecordsWriter(Protocol):
    """Anchors inside a transaction. Append only."""

    def latest(self, tenant_id: uuid.UUID) -> StoredAnchor | None:
        """Return the anchor that covers most entries."""

    def insert(self, anchor: StoredAnchor) -> None:
        """Add an anchor; it covers more entries than the latest."""

    def add_statement(self, note: str) -> None:
        """Add a rotation statement."""


class TenantDirectory(Protocol):
    """Tenants, for reading. Errors: ``StoreUnavailable``."""

    def get(self, tenant_id: uuid.UUID) -> Tenant | None:
        """Return a tenant by id."""

    def by_name(self, name: str) -> Tenant | None:
        """Return a tenant by name; names compare exactly, code point by code point."""

    def all(self) -> Sequence[Tenant]:
        """Return all tenants, by name."""


class TenantDirectoryWriter(Protocol):
    """Tenants inside a transaction."""

    def get(self, tenant_id: uuid.UUID) -> Tenant | None:
        """Return a tenant by id."""

    def insert(self, tenant: Tenant) -> None:
        """Add a tenant. Raises ``StateConflict`` if the name exists."""

    def replace(self, tenant: Tenant) -> None:
        """Overwrite plan, status and time of an existing tenant."""


class PolicyRecords(Protocol):
    """Stored policy documents. ``tenant_id`` None is the service's own."""

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        """Return the current document."""

    def revision(self, tenant_id: uuid.UUID | None, number: int) -> PolicyDocument | None:
        """Return one revision of a document, from 1."""


class PolicyRecordsWriter(Protocol):
    """Policy documents inside a transaction. Earlier revisions are kept."""

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        """Return the current document."""

    def insert(self, document: PolicyDocument) -> None:
        """Add the next revision of a document."""


class ApiKeyRecords(Protocol):
    """API keys, for reading. Errors: ``StoreUnavailable``."""

    def get(self, key_id: str) -> ApiKeyRecord | None:
        """Return one API key by its id, which is indexed.

        This alone names no tenant: it is how a request's tenant becomes known.
        """

    def find(self, tenant_id: uuid.UUID) -> Sequence[ApiKeyRecord]:
        """Return all API keys of a tenant, ordered by name and version."""


class ApiKeyRecordsWriter(ApiKeyRecords, Protocol):
    """API keys inside a transaction. None is ever removed."""

    def insert(self, record: ApiKeyRecord) -> None:
        """Add an API key. Raises ``StateConflict`` if its id, or name and version, exists."""

    def replace(self, record: ApiKeyRecord) -> None:
        """Overwrite expiry, revocation and last use of an existing API key."""


class IdempotencyRecords(Protocol):
    """Calls that were given an idempotency key. Errors: ``StoreUnavailable``."""

    def get(self, tenant_id: uuid.UUID, key_hash: bytes) -> IdempotencyRecord | None:
        """Return the call of one idempotency key."""


class IdempotencyRecordsWriter(IdempotencyRecords, Protocol):
    """Idempotency records inside a transaction."""

    def put(self, record: IdempotencyRecord) -> None:
        """Add a record, or overwrite the one of the same tenant and key."""

    def forget(self, tenant_id: uuid.UUID, before: datetime) -> None:
        """Remove the tenant's records that were created before a moment; some may stay a while."""


class IntentRecords(Protocol):
    """Changes that another store takes part in, until they are settled (``qpher_core.mixed``)."""

    def all(self) -> Sequence[Intent]:
        """Return all intents; hardly ever more than one."""


class IntentRecordsWriter(Protocol):
    """Intents inside a transaction."""

    def all(self) -> Sequence[Intent]:
        """Return all intents."""

    def add(self, intent: Intent) -> None:
        """Add an intent."""

    def remove(self, intent_id: uuid.UUID) -> None:
        """Remove an intent, if it is there."""
