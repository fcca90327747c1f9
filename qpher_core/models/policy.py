# SPDX-License-Identifier: Apache-2.0
"""What a policy engine is asked, what it answers, and stored rules."""

import uuid
from datetime import datetime

from attrs import frozen

__all__ = ["Decision", "PolicyDocument", "PolicyRequest"]


@frozen
class PolicyRequest:
    """What a policy engine decides on. It never holds a secret, payload or context value."""

    tenant_id: uuid.UUID
    plan: str | None
    actor: str
    scopes: frozenset[str] | None
    action: str
    features: frozenset[str]
    key_name: str | None
    algorithm: str | None
    key_version: int | None
    key_state: str | None
    context_keys: frozenset[str]
    payload_bytes: int
    time: datetime
    source: str | None


@frozen
class Decision:
    """A policy engine's answer. Only ``allow is True`` allows."""

    allow: bool
    rule: str
    reason: str


@frozen
class PolicyDocument:
    """A stored policy: the rules of one tenant, or of the service (``tenant_id`` None)."""

    tenant_id: uuid.UUID | None
    revision: int
    rules: str
