# SPDX-License-Identifier: Apache-2.0
"""Models of tenants and their usage."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from qpher_core.asgi.models import Model, Name

Owner = Annotated[
    str,
    Meta(pattern="^(service|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"),
]


class Plan(msgspec.Struct):
    """A plan; ``unlimited`` where the tenant has none."""

    name: str
    price: str


class Amounts(msgspec.Struct):
    """Amounts; as limits -1 is without limit."""

    api_calls: int
    kem_keys: int
    sig_keys: int
    api_keys: int


class TenantStatusInfo(msgspec.Struct):
    """A tenant, what it uses, and what it may. ``renews_at`` is RFC 3339, UTC."""

    tenant_id: str
    tenant_name: str
    plan: Plan
    usage: Amounts
    limits: Amounts
    renews_at: str


class TenantStatuses(msgspec.Struct):
    """The caller's tenant."""

    tenants: list[TenantStatusInfo]


class CreateTenant(Model):
    """Create a tenant; without a plan it has every feature."""

    name: Name
    plan: str | None = None


class UpdateTenant(Model):
    """Change a tenant's plan or status; what is left out stays."""

    plan: str | msgspec.UnsetType | None = msgspec.UNSET
    status: Literal["active", "suspended"] | msgspec.UnsetType = msgspec.UNSET


class TenantInfo(msgspec.Struct):
    """A tenant. It never has an API key in it."""

    id: str
    name: str
    plan: str | None
    status: str
    created_at: str
    updated_at: str


class TenantList(msgspec.Struct):
    """All tenants, by name."""

    tenants: list[TenantInfo]
    total: int


class TenantParams(Model):
    """Which tenant."""

    tenant_id: UUID


class OwnerParams(Model):
    """Whose policy: a tenant's id, or ``service``."""

    tenant_id: Owner


class UsageParams(Model):
    """Whose usage; every tenant's where none is given."""

    tenant_id: UUID | None = None
