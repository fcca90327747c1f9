# SPDX-License-Identifier: Apache-2.0
"""Tenants."""

import enum
import uuid
from datetime import datetime
from typing import Final

from attrs import frozen

__all__ = ["SERVICE", "Tenant", "TenantStatus"]

#: The tenant id that no tenant has: the service itself.
SERVICE: Final = uuid.UUID(int=0)


class TenantStatus(enum.StrEnum):
    """Whether a tenant may do anything at all."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@frozen
class Tenant:
    """One tenant. ``plan`` is None for tenants that have everything."""

    id: uuid.UUID
    name: str
    plan: str | None
    status: TenantStatus
    created_at: datetime
    updated_at: datetime
