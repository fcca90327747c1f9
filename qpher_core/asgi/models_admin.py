# SPDX-License-Identifier: Apache-2.0
"""Models of tenants, API keys, policies and usage."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from qpher_core.asgi.models import Model, Name
from qpher_core.asgi.models_audit import ExportParams

Scope = Literal["kem", "signatures", "keys", "audit", "api_keys", "policies", "admin"]
KeyId = Annotated[str, Meta(pattern="^[0-9A-Za-z]{12}$")]
Owner = Annotated[
    str,
    Meta(pattern="^(service|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"),
]
Seconds = Annotated[int, Meta(ge=0, le=10 * 366 * 86_400)]


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


class ApiKeyParams(TenantParams):
    """Which API key."""

    key_id: KeyId


class CreateApiKey(Model):
    """Create an API key. Without scopes it has kem, signatures, keys and audit."""

    name: Name = "default"
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=7)] | None = None
    expires_in_seconds: Annotated[int, Meta(ge=1, le=10 * 366 * 86_400)] | None = None


class RotateApiKey(Model):
    """Replace an API key; the newest valid one of a name, which may be left out if it is one."""

    name: Name | None = None
    overlap_seconds: Seconds = 0


class RotateOneApiKey(Model):
    """Replace an API key."""

    overlap_seconds: Seconds = 0


class ApiKeyInfo(msgspec.Struct):
    """An API key, without its secret."""

    id: str
    tenant_id: str
    name: str
    scopes: list[str]
    version: int
    valid: bool
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class NewApiKey(ApiKeyInfo):
    """A new API key; ``api_key`` is shown this once."""

    api_key: str


class ApiKeyList(msgspec.Struct):
    """API keys, ordered by name and version."""

    api_keys: list[ApiKeyInfo]
    total: int


class OwnerParams(Model):
    """Whose policy: a tenant's id, or ``service``."""

    tenant_id: Owner


class PolicyParams(Model):
    """Whose policy: a tenant's id, or ``service``; and which revision, if not the current one."""

    tenant_id: Owner
    revision: Annotated[int, Meta(ge=1, le=2**53)] | None = None


class LogParams(ExportParams, kw_only=True):
    """Whose log: a tenant's id, or ``service``; and which entries of it."""

    tenant_id: Owner


class SetPolicy(Model):
    """Replace the rules of a tenant or of the service: JSON or TOML, as text."""

    rules: Annotated[str, Meta(max_length=1 << 20)]


class PolicyInfo(msgspec.Struct):
    """Rules, and how often they have been replaced."""

    revision: int
    rules: str


class UsageParams(Model):
    """Whose usage; every tenant's where none is given."""

    tenant_id: UUID | None = None
