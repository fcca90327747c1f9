# SPDX-License-Identifier: Apache-2.0
"""Audit entries, receipts, and what verifying a log gave."""

import json
import uuid
from typing import Any

from attrs import field, frozen

__all__ = ["AuditEntry", "AuditReport", "Intent", "Receipt"]


@frozen
class Receipt:
    """Proof of order: where an operation stands in its tenant's audit log.

    Attributes:
        hash: SHA-256 of the entry's canonical bytes, 32 bytes.
    """

    tenant_id: uuid.UUID
    seq: int
    hash: bytes = field(repr=bytes.hex)


@frozen
class AuditEntry:
    """One entry of a tenant's log; docs/formats.md defines its canonical bytes.

    Attributes:
        body: the canonical bytes, which everything else is parsed from.
        hash: SHA-256 of ``body``, 32 bytes.
    """

    tenant_id: uuid.UUID
    seq: int
    body: bytes = field(repr=False)
    hash: bytes = field(repr=bytes.hex)

    @property
    def fields(self) -> dict[str, Any]:
        """The entry's fields, parsed from its canonical bytes."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def receipt(self) -> Receipt:
        """The receipt that the operation returned."""
        return Receipt(self.tenant_id, self.seq, self.hash)


@frozen
class Intent:
    """A change of keys whose audit entries are kept in another store (``qpher_core.mixed``).

    Attributes:
        entries: tenant and place of the entries that tell of the change.
    """

    id: uuid.UUID
    entries: tuple[tuple[uuid.UUID, int], ...]


@frozen
class AuditReport:
    """Outcome of verifying one tenant's log.

    Attributes:
        entries: how many entries were checked and found good.
        bad_seq: the first entry that is wrong, or None.
        problem: what is wrong with it, or an empty string.
        head: hash of the last good entry, 32 bytes (zeros for an empty log).
    """

    tenant_id: uuid.UUID
    entries: int
    bad_seq: int | None
    problem: str
    head: bytes = field(repr=bytes.hex)

    @property
    def ok(self) -> bool:
        """Whether the whole log is good."""
        return self.bad_seq is None
