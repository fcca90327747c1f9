# SPDX-License-Identifier: Apache-2.0
"""One audit entry and its canonical bytes (docs/formats.md, Audit entry).

The fields are an allow-list: nothing reaches the log that is not a parameter of
:class:`EntryDraft`, and none of those carries a secret, a plaintext or a context value.
"""

import hashlib
import uuid
from datetime import datetime
from typing import Final

from attrs import frozen

from qpher_core.models import AuditEntry, canonical_json, rfc3339

__all__ = ["EMPTY_HEAD", "FORMAT", "EntryDraft", "KeyAddress", "build_entry", "digest"]

FORMAT: Final = "qpher-audit/1"

#: ``prev_hash`` of the first entry.
EMPTY_HEAD: Final = bytes(32)


@frozen
class KeyAddress:
    """The key that an entry is about; ``version`` is None where none was resolved."""

    name: str
    algorithm: str
    version: int | None


@frozen
class EntryDraft:
    """What is recorded about one operation.

    Attributes:
        outcome: ``success``, ``denied`` or ``failed``.
        reason: the caller's reason for a change, or the error code and text of a refusal.
        context: SHA-256 of the canonical caller context, 32 bytes.
        content: SHA-256 of the operation's own output (docs/formats.md says of what), 32 bytes.
    """

    actor: str
    action: str
    key: KeyAddress | None
    outcome: str
    reason: str
    request_id: uuid.UUID
    context: bytes | None
    content: bytes | None


def digest(data: bytes | None) -> bytes | None:
    """Return SHA-256 of ``data``, or None for None."""
    return None if data is None else hashlib.sha256(data).digest()


def build_entry(
    draft: EntryDraft, *, tenant_id: uuid.UUID, seq: int, prev_hash: bytes, time: datetime
) -> AuditEntry:
    """Return the entry at place ``seq`` of a tenant's chain."""
    key = draft.key
    body = canonical_json(
        {
            "format": FORMAT,
            "seq": seq,
            "tenant": str(tenant_id),
            "time": rfc3339(time),
            "actor": draft.actor,
            "action": draft.action,
            "key": key and {"name": key.name, "algorithm": key.algorithm, "version": key.version},
            "outcome": draft.outcome,
            "reason": draft.reason,
            "request_id": str(draft.request_id),
            "context": draft.context and draft.context.hex(),
            "content": draft.content and draft.content.hex(),
            "prev_hash": prev_hash.hex(),
        }
    )
    return AuditEntry(tenant_id, seq, body, hashlib.sha256(body).digest())
