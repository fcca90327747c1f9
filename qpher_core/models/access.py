# SPDX-License-Identifier: Apache-2.0
"""Who asks, with which API key, and what was asked before."""

import uuid
from datetime import datetime
from typing import Final

from attrs import field, frozen

__all__ = [
    "BY_ITSELF",
    "OPERATOR",
    "ApiKey",
    "ApiKeyRecord",
    "IdempotencyRecord",
    "RequestContext",
]

#: Who administers a service, where nobody is named.
OPERATOR: Final = "operator"

#: The actor of what a service does without being asked.
BY_ITSELF: Final = "service"


@frozen
class RequestContext:
    """Who asks, for which tenant. Immutable; carried through every call of one request.

    Attributes:
        scopes: scopes of the caller; None for a caller who holds the service itself.
        source: the caller's network address.
        request_id: id of the request, which its audit entries carry; a new one for each call
            where none is given.
    """

    tenant_id: uuid.UUID
    actor: str
    scopes: frozenset[str] | None = None
    source: str | None = None
    request_id: uuid.UUID | None = None


@frozen
class ApiKey:
    """One API key, without its secret.

    Attributes:
        id: 12 characters, the part of the key that is no secret.
        scopes: what it may do: rows of the table of operations name them.
        version: counts the keys of one name, from 1.
        expires_at: from this moment on it is refused.
        revoked_at: when it was revoked; refused since.
        last_used_at: when it was last used, to within a minute.
    """

    id: str
    tenant_id: uuid.UUID
    name: str
    scopes: frozenset[str]
    version: int
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def renewed(self, now: datetime) -> datetime | None:
        """Return when a successor that is made now expires: it lives as long again."""
        return None if self.expires_at is None else now + (self.expires_at - self.created_at)

    def valid(self, now: datetime) -> bool:
        """Return whether it is accepted at a moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@frozen
class ApiKeyRecord:
    """What a backend persists for one API key.

    Attributes:
        secret_hash: SHA-256 of the secret part, 32 bytes.
    """

    key: ApiKey
    secret_hash: bytes = field(repr=False)


@frozen
class IdempotencyRecord:
    """A call that was given an idempotency key.

    Attributes:
        key_hash: SHA-256 of the idempotency key, 32 bytes.
        fingerprint: SHA-256 of the request, 32 bytes: the key stands for no other one.
        answer: the sealed answer; None while the call is under way, and for ever if it was cut
            short.
    """

    tenant_id: uuid.UUID
    key_hash: bytes
    fingerprint: bytes
    request_id: uuid.UUID
    created_at: datetime
    answer: bytes | None = field(repr=False)
