# SPDX-License-Identifier: Apache-2.0
"""Models of API keys."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from qpher_core.asgi.models import Model, Name
from qpher_core.asgi.models_tenants import TenantParams

#: Those of ``qpher_core.api_keys``.
Scope = Literal["kem", "signatures", "keys", "audit", "api_keys", "policies", "admin"]
KeyId = Annotated[str, Meta(pattern="^[0-9A-Za-z]{12}$")]
Seconds = Annotated[int, Meta(ge=0, le=10 * 366 * 86_400)]


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
