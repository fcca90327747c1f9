# SPDX-License-Identifier: Apache-2.0
"""What can be administered alike here and at a service elsewhere."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from qpher_core.audit.selection import EntryFilter
from qpher_core.models import ApiKey, PolicyDocument, ProtectorStatus, RewrapReport, Tenant
from qpher_core.service_maintenance import MaintenanceReport
from qpher_core.service_policies import Explanation

__all__ = [
    "Administration",
    "ApiKeyAdministration",
    "LogAdministration",
    "PolicyAdministration",
    "ProtectorAdministration",
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

    def diff(self, old: int, new: int, tenant: str | uuid.UUID | None = None) -> str:
        """See the method of the same name of a local service."""

    def explain(
        self,
        tenant: str | uuid.UUID,
        action: str,
        *,
        actor: str = ...,
        algorithm: str | None = None,
        key_name: str | None = None,
        key_version: int | None = None,
        scopes: frozenset[str] | None = None,
        payload_bytes: int = 0,
        source: str | None = None,
        time: datetime | None = None,
    ) -> Explanation:
        """See the method of the same name of a local service."""


class ProtectorAdministration(Protocol):
    """Key encryption keys of a service."""

    def status(self) -> ProtectorStatus:
        """See the method of the same name of a local service."""

    def rewrap(self) -> RewrapReport:
        """See the method of the same name of a local service."""


class LogAdministration(Protocol):
    """Audit logs of a service."""

    def export(
        self,
        target: str | Path,
        tenant: str | uuid.UUID | None = None,
        *,
        where: EntryFilter | None = None,
    ) -> None:
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
        """Get, revision, set, diff, explain."""

    @property
    def protector(self) -> ProtectorAdministration:
        """Status, rewrap."""

    @property
    def audit(self) -> LogAdministration:
        """Export."""

    def maintain(
        self, tenant: str | uuid.UUID | None = None, *, dry_run: bool = False
    ) -> MaintenanceReport:
        """See the method of the same name of a local service."""
