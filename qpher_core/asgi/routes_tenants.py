# SPDX-License-Identifier: Apache-2.0
"""Tenants: the caller's own, and all for an administrator."""

import uuid
from typing import Final

from qpher_core.asgi import models_tenants as models
from qpher_core.asgi.endpoint import Ask, Endpoint
from qpher_core.asgi.models_audit import LogParams
from qpher_core.models import Tenant, rfc3339
from qpher_core.session_usage import UsageReport

__all__ = ["ENDPOINTS", "owner_of"]

_TAG: Final = "Tenants"
_UNLIMITED: Final = -1


def own_status(ask: Ask) -> models.TenantStatuses:
    """Return the caller's tenant, its usage and limits."""
    return models.TenantStatuses([_status(ask.session.usage.current())])


def own_status_flat(ask: Ask) -> models.TenantStatusInfo:
    """Return the caller's tenant, as version 1.0.0 of the SDK's CLI asks for it."""
    return _status(ask.session.usage.current())


def _status(report: UsageReport) -> models.TenantStatusInfo:
    """Return usage as answers have it."""
    limits = report.limits
    keys = _limit(limits.key_versions)
    return models.TenantStatusInfo(
        str(report.tenant.id),
        report.tenant.name,
        models.Plan(report.tenant.plan or "unlimited", ""),
        models.Amounts(report.calls, report.kem_keys, report.signature_keys, report.api_keys),
        models.Amounts(_limit(limits.calls), keys, keys, _limit(limits.api_keys)),
        rfc3339(report.renews_at),
    )


def _limit(value: int | None) -> int:
    return _UNLIMITED if value is None else value


def tenant_info(tenant: Tenant) -> models.TenantInfo:
    """Return a tenant as answers have it."""
    return models.TenantInfo(
        str(tenant.id),
        tenant.name,
        tenant.plan,
        str(tenant.status),
        rfc3339(tenant.created_at),
        rfc3339(tenant.updated_at),
    )


def create(ask: Ask) -> models.TenantInfo:
    """Create a tenant."""
    body: models.CreateTenant = ask.body
    return tenant_info(ask.kms.tenants.create(body.name, plan=body.plan, actor=ask.context))


def get(ask: Ask) -> models.TenantInfo:
    """Return the caller's tenant, or any for an administrator."""
    tenant_id: uuid.UUID = ask.params.tenant_id
    if tenant_id == ask.tenant.id:
        return tenant_info(ask.session.usage.current().tenant)
    ask.kms.permit(ask.context, "tenants.read", tenant_id)
    return tenant_info(ask.kms.tenants.get(tenant_id))


def list_tenants(ask: Ask) -> models.TenantList:
    """Return all tenants."""
    ask.kms.permit(ask.context, "tenants.read")
    found = ask.kms.tenants.list()
    return models.TenantList([tenant_info(tenant) for tenant in found], len(found))


def update(ask: Ask) -> models.TenantInfo:
    """Change a tenant's plan or status."""
    body: models.UpdateTenant = ask.body
    tenant_id: uuid.UUID = ask.params.tenant_id
    tenants, changed = ask.kms.tenants, None
    if body.plan is None or isinstance(body.plan, str):
        changed = tenants.set_plan(tenant_id, body.plan, actor=ask.context)
    if isinstance(body.status, str):
        change = tenants.suspend if body.status == "suspended" else tenants.resume
        changed = change(tenant_id, actor=ask.context)
    if changed is None:
        ask.kms.permit(ask.context, "tenants.read", tenant_id)
        changed = tenants.get(tenant_id)
    return tenant_info(changed)


def usage(ask: Ask) -> models.TenantStatuses:
    """Return the usage of one tenant, or of all."""
    tenant_id: uuid.UUID | None = ask.params.tenant_id
    ask.kms.permit(ask.context, "tenants.read", tenant_id)
    found = [ask.kms.tenants.get(tenant_id)] if tenant_id is not None else ask.kms.tenants.list()
    return models.TenantStatuses([_status(ask.kms.usage_of(tenant.id)) for tenant in found])


def owner_of(params: models.OwnerParams | LogParams) -> uuid.UUID | None:
    """Return the tenant that parameters name, or None for the service."""
    return None if params.tenant_id == "service" else uuid.UUID(params.tenant_id)


def _of_tenants(base: str, tag: str) -> tuple[Endpoint, ...]:
    """Return the endpoints that the public API and the administrator's share."""
    return (
        Endpoint(
            method="POST",
            path=base,
            handler=create,
            body=models.CreateTenant,
            answer=models.TenantInfo,
            summary="Create a tenant",
            tag=tag,
            operations=("tenants.create",),
            status=201,
            changes=True,
        ),
        Endpoint(
            method="GET",
            path=base + "/{tenant_id}",
            handler=get,
            params=models.TenantParams,
            answer=models.TenantInfo,
            summary="One tenant",
            tag=tag,
            operations=("tenants.read", "usage.read"),
        ),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/tenants/me",
        handler=own_status_flat,
        answer=models.TenantStatusInfo,
        summary="The caller's tenant, its usage and limits",
        tag=_TAG,
        operations=("usage.read",),
        sdk=True,
    ),
    *(
        Endpoint(
            method="GET",
            path=path,
            handler=own_status,
            answer=models.TenantStatuses,
            summary="The caller's tenant, its usage and limits",
            tag=_TAG,
            operations=("usage.read",),
            sdk=True,
        )
        for path in ("/tenants/", "/tenants")
    ),
    *_of_tenants("/tenants", _TAG),
    *_of_tenants("/admin/tenants", "Administration"),
    Endpoint(
        method="GET",
        path="/admin/tenants",
        handler=list_tenants,
        answer=models.TenantList,
        summary="All tenants",
        tag="Administration",
        operations=("tenants.read",),
    ),
    Endpoint(
        method="PATCH",
        path="/admin/tenants/{tenant_id}",
        handler=update,
        params=models.TenantParams,
        body=models.UpdateTenant,
        answer=models.TenantInfo,
        summary="Change a tenant's plan or status",
        tag="Administration",
        operations=("tenants.update", "tenants.read"),
        changes=True,
    ),
    Endpoint(
        method="GET",
        path="/admin/usage",
        handler=usage,
        params=models.UsageParams,
        answer=models.TenantStatuses,
        summary="Usage of one tenant, or of all",
        tag="Administration",
        operations=("tenants.read",),
    ),
)
