# SPDX-License-Identifier: Apache-2.0
"""Administers a service elsewhere, for an API key that may: tenants, API keys, and the rest.

The methods are those of the service's holder; who does it is always the API key.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from attrs import frozen

from qpher_backends.remote.answers import api_key_of, tenant_of
from qpher_backends.remote.link import Link
from qpher_backends.remote.logs import RemoteLogs
from qpher_backends.remote.owners import id_of
from qpher_backends.remote.rules import RemotePolicies
from qpher_backends.remote.upkeep import RemoteProtector, maintain
from qpher_core.models import ApiKey, Tenant
from qpher_core.service_maintenance import MaintenanceReport

__all__ = ["RemoteAdministration"]

_TENANTS: Final = "/admin/tenants"
_SECOND: Final = timedelta(seconds=1)


@frozen
class _RemoteTenants:
    _link: Link

    def create(self, name: str, *, plan: str | None = None) -> Tenant:
        """Create a tenant."""
        return self._link.call("POST", _TENANTS, _tenant, body={"name": name, "plan": plan})

    def list(self) -> Sequence[Tenant]:
        """Return all tenants, by name."""
        return self._link.call("GET", _TENANTS, lambda a, _: [tenant_of(t) for t in a.tenants])

    def set_plan(self, tenant: str | uuid.UUID, plan: str | None) -> Tenant:
        """Change a tenant's plan."""
        return self._update(tenant, plan=plan)

    def suspend(self, tenant: str | uuid.UUID) -> Tenant:
        """Refuse every operation of a tenant."""
        return self._update(tenant, status="suspended")

    def resume(self, tenant: str | uuid.UUID) -> Tenant:
        """Undo suspend."""
        return self._update(tenant, status="active")

    def _update(self, tenant: str | uuid.UUID, **change: object) -> Tenant:
        return self._link.call(
            "PATCH",
            _TENANTS + "/{tenant_id}",
            _tenant,
            values={"tenant_id": id_of(self._link, tenant)},
            body=change,
        )


@frozen
class _RemoteApiKeys:
    _link: Link

    def create(
        self,
        tenant: str | uuid.UUID,
        *,
        name: str = "default",
        scopes: Iterable[str],
        expires_in: timedelta | None = None,
    ) -> tuple[ApiKey, str]:
        """Create an API key; the secret is shown this once."""
        body: dict[str, object] = {"name": name, "scopes": sorted(scopes)}
        if expires_in is not None:
            body["expires_in_seconds"] = expires_in // _SECOND
        return self._call("POST", "", tenant, body=body)

    def list(self, tenant: str | uuid.UUID) -> Sequence[ApiKey]:
        """Return all API keys of a tenant."""
        return self._link.call(
            "GET",
            _TENANTS + "/{tenant_id}/api-keys",
            lambda answer, _: [api_key_of(key) for key in answer.api_keys],
            values={"tenant_id": id_of(self._link, tenant)},
        )

    def rotate(
        self, tenant: str | uuid.UUID, key_id: str, *, overlap: timedelta = timedelta(0)
    ) -> tuple[ApiKey, str]:
        """Replace an API key."""
        body = {"overlap_seconds": overlap // _SECOND}
        return self._call("POST", "/{key_id}/rotate", tenant, key_id, body=body)

    def revoke(self, tenant: str | uuid.UUID, key_id: str) -> ApiKey:
        """Refuse an API key from the next request on."""
        return self._link.call(
            "POST",
            _TENANTS + "/{tenant_id}/api-keys/{key_id}/revoke",
            lambda answer, _: api_key_of(answer),
            values={"tenant_id": id_of(self._link, tenant), "key_id": key_id},
        )

    def _call(
        self,
        method: str,
        path: str,
        tenant: str | uuid.UUID,
        key_id: str | None = None,
        *,
        body: dict[str, Any],
    ) -> tuple[ApiKey, str]:
        return self._link.call(
            method,
            _TENANTS + "/{tenant_id}/api-keys" + path,
            lambda answer, _: (api_key_of(answer), answer.api_key),
            values={"tenant_id": id_of(self._link, tenant), "key_id": key_id},
            body=body,
        )


class RemoteAdministration:
    """Administers a service elsewhere.

    Attributes:
        tenants: create, list, set_plan, suspend, resume.
        api_keys: create, list, rotate, revoke.
        policies: get, revision, set, diff, explain.
        protector: status, rewrap.
        audit: export.
    """

    def __init__(self, link: Link) -> None:
        self.tenants = _RemoteTenants(link)
        self.api_keys = _RemoteApiKeys(link)
        self.policies = RemotePolicies(link)
        self.protector = RemoteProtector(link)
        self.audit = RemoteLogs(link)
        self._link = link

    def maintain(
        self, tenant: str | uuid.UUID | None = None, *, dry_run: bool = False
    ) -> MaintenanceReport:
        """Rotate every key that is due by the rotation rules."""
        return maintain(self._link, tenant, dry_run=dry_run)


def _tenant(answer: Any, _: uuid.UUID) -> Tenant:
    return tenant_of(answer)
