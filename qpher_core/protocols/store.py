# SPDX-License-Identifier: Apache-2.0
"""Stores: reading anything at any time, and writing in one durable transaction."""

import uuid
from collections.abc import Callable
from typing import Protocol, TypeVar

from qpher_core.protocols.records import (
    AnchorRecords,
    AnchorRecordsWriter,
    ApiKeyRecords,
    ApiKeyRecordsWriter,
    AuditRecords,
    AuditRecordsWriter,
    IdempotencyRecords,
    IdempotencyRecordsWriter,
    IntentRecords,
    IntentRecordsWriter,
    KeyRecords,
    KeyRecordsWriter,
    PolicyRecords,
    PolicyRecordsWriter,
    TenantDirectory,
    TenantDirectoryWriter,
)

__all__ = ["Mark", "Participant", "ParticipantWriter", "Store", "StoreWriter"]

T = TypeVar("T")


class StoreWriter(Protocol):
    """What :meth:`Store.commit` hands to its work."""

    @property
    def keys(self) -> KeyRecordsWriter:
        """Key records."""

    @property
    def audit(self) -> AuditRecordsWriter:
        """Audit entries."""

    @property
    def tenants(self) -> TenantDirectoryWriter:
        """Tenants."""

    @property
    def policies(self) -> PolicyRecordsWriter:
        """Policy documents."""

    @property
    def anchors(self) -> AnchorRecordsWriter:
        """Anchors."""

    @property
    def service_keys(self) -> KeyRecordsWriter:
        """Records of the service's own keys, under the nil tenant."""

    @property
    def api_keys(self) -> ApiKeyRecordsWriter:
        """API keys."""

    @property
    def idempotency(self) -> IdempotencyRecordsWriter:
        """Calls that were given an idempotency key."""


class Mark(Protocol):
    """What a store's optional ``lately()`` enters: a thread may be given rows of a moment ago."""

    @property
    def fresh(self) -> bool:
        """Whether all was read from the database after all."""

    def holds(self) -> bool:
        """Return, inside a commit, whether all that was given out is still so."""


class Store(Protocol):
    """One place that persists keys, audit entries, tenants and policies. Thread-safe.

    A store may have ``lately()``, which returns a context of a :class:`Mark` for the calling
    thread. The pipeline reads inside of it, and asks the mark in the commit that follows.
    One whose reads wait for no network says so with ``local = True``.
    """

    @property
    def keys(self) -> KeyRecords:
        """Key records."""

    @property
    def audit(self) -> AuditRecords:
        """Audit entries."""

    @property
    def tenants(self) -> TenantDirectory:
        """Tenants."""

    @property
    def policies(self) -> PolicyRecords:
        """Policy documents."""

    @property
    def anchors(self) -> AnchorRecords:
        """Anchors."""

    @property
    def service_keys(self) -> KeyRecords:
        """Records of the service's own keys, under the nil tenant."""

    @property
    def api_keys(self) -> ApiKeyRecords:
        """API keys."""

    @property
    def idempotency(self) -> IdempotencyRecords:
        """Calls that were given an idempotency key."""

    @property
    def default_protector(self) -> str:
        """URL of the protector to use when the caller names none."""

    def commit(self, work: Callable[[StoreWriter], T], *, tenant_id: uuid.UUID | None = None) -> T:
        """Run ``work``; everything that it wrote is durable when this returns.

        If ``work`` raises, nothing that it wrote remains, and the exception comes out. If the
        store cannot make it durable: ``StoreUnavailable``, and nothing remains, unless the
        message says that the outcome is not known. Several callers' work may share one durable
        commit. ``work`` changes nothing but what it writes: a store that lost its connection
        undoes everything and runs it again. It must not commit itself: ``RuntimeError``.

        Args:
            work: what is to be done.
            tenant_id: the only tenant whose data ``work`` touches. Commits for one tenant go one
                at a time, in any process; those for different tenants may go side by side.
                It may read the service's own keys as well, as they are at that moment.
                Without it, ``work`` may touch all of them, and waits for commits for each tenant
                that it touches and for others without a tenant.
        """

    def close(self) -> None:
        """Release files and connections. Idempotent."""


class ParticipantWriter(StoreWriter, Protocol):
    """What :meth:`Participant.commit` hands to its work."""

    @property
    def intents(self) -> IntentRecordsWriter:
        """Changes that another store takes part in."""


class Participant(Store, Protocol):
    """A store that can be one of the two of a mixed set-up (``qpher_core.mixed``)."""

    @property
    def readers_wait(self) -> bool:
        """Whether reading waits while this process commits; False wherever it can be helped."""

    @property
    def intents(self) -> IntentRecords:
        """Changes that another store takes part in."""

    def commit(
        self, work: Callable[[ParticipantWriter], T], *, tenant_id: uuid.UUID | None = None
    ) -> T:
        """As :meth:`Store.commit`."""
