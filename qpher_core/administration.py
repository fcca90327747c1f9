# SPDX-License-Identifier: Apache-2.0
"""What can be administered alike here and at a service elsewhere: tenants, API keys, rules."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from qpher_core.models import ApiKey, PolicyDocument, Tenant

__all__ = [
    "Administration",
    "ApiKeyAdministration",
    "PolicyAdministration",
    "TenantAdministration",
]


class TenantAdministration(Protocol):
    """Tenants of a service."""

    def create(self, name: str, *, plan: str | None = None) -> Tenant:
        """See the method of the same name of a local service."""

    def list(self) -> Sequence[Tenant]:
        """See the method of the same name of a local service."""

    def set_plan(self, tenant: str | uuid.UUID, plan: str | None) -> Tenant:
        """See the method of the same name of a local service."""

    def suspend(self, tenant: str | uuid.UUID) -> Tenant:
        """See the method of the same name of a local service."""

    def resume(self, tenant: str | uuid.UUID) -> Tenant:
        """See the method of the same name of a local service."""


class ApiKeyAdministration(Protocol):
    """API keys of a service."""

    def create(
        self,
        tenant: str | uuid.UUID,
        *,
        name: str = ...,
        scopes: Iterable[str],
        expires_in: timedelta | None = None,
    ) -> tuple[ApiKey, str]:
        """See the method of the same name of a local service."""

    def list(self, tenant: str | uuid.UUID) -> Sequence[ApiKey]:
        """See the method of the same name of a local service."""

    def rotate(
        self, tenant: str | uuid.UUID, key_id: str, *, overlap: timedelta = ...
    ) -> tuple[ApiKey, str]:
        """See the method of the same name of a local service."""

    def revoke(self, tenant: str | uuid.UUID, key_id: str) -> ApiKey:
        """See the method of the same name of a local service."""


class PolicyAdministration(Protocol):
    """Rules of a service and its tenants."""

    def get(self, tenant: str | uuid.UUID | None = None) -> PolicyDocument | None:
        """See the method of the same name of a local service."""

    def revision(self, number: int, tenant: str | uuid.UUID | None = None) -> PolicyDocument:
        """See the method of the same name of a local service."""

    def set(
        self, rules: str, *, tenant: str | uuid.UUID | None = None, actor: str = ...
    ) -> PolicyDocument:
        """See the method of the same name of a local service."""


class Administration(Protocol):
    """Administers a service; :class:`~qpher_core.Qpher` is one. Methods are documented there."""

    @property
    def tenants(self) -> TenantAdministration:
        """Create, list, set_plan, suspend, resume."""

    @property
    def api_keys(self) -> ApiKeyAdministration:
        """Create, list, rotate, revoke."""

    @property
    def policies(self) -> PolicyAdministration:
        """Get, revision, set."""
