# SPDX-License-Identifier: Apache-2.0
"""Policies, usage and key encryption keys, for administrators."""

import uuid
from typing import Final

from qpher_core.asgi import models_admin as models
from qpher_core.asgi.endpoint import Ask, Endpoint
from qpher_core.asgi.routes_tenants import usage_info
from qpher_core.errors import NotFound
from qpher_core.models import PolicyDocument

__all__ = ["ENDPOINTS"]

_TAG: Final = "Administration"


def get_policy(ask: Ask) -> models.PolicyInfo:
    """Return the rules of a tenant or of the service."""
    params: models.PolicyParams = ask.params
    owner = _owner(params.tenant_id)
    ask.kms.permit(ask.context, "policies.read", owner)
    if params.revision is not None:
        return _policy_info(ask.kms.policies.revision(params.revision, owner))
    document = ask.kms.policies.get(owner)
    if document is None:
        raise NotFound("the tenant has no rules of its own")
    return _policy_info(document)


def set_policy(ask: Ask) -> models.PolicyInfo:
    """Replace the rules of a tenant or of the service."""
    owner = _owner(ask.params.tenant_id)
    body: models.SetPolicy = ask.body
    return _policy_info(ask.kms.policies.set(body.rules, tenant=owner, actor=ask.context))


def _owner(tenant_id: str) -> uuid.UUID | None:
    return None if tenant_id == "service" else uuid.UUID(tenant_id)


def _policy_info(document: PolicyDocument) -> models.PolicyInfo:
    return models.PolicyInfo(document.revision, document.rules)


def usage(ask: Ask) -> models.TenantStatuses:
    """Return the usage of one tenant, or of all."""
    tenant_id: uuid.UUID | None = ask.params.tenant_id
    ask.kms.permit(ask.context, "tenants.read", tenant_id)
    found = [ask.kms.tenants.get(tenant_id)] if tenant_id is not None else ask.kms.tenants.list()
    return models.TenantStatuses([usage_info(ask.kms.usage_of(tenant.id)) for tenant in found])


def rewrap(ask: Ask) -> models.Rewrapped:
    """Seal every record under the key encryption key in use."""
    ask.kms.permit(ask.context, "protector.rewrap")
    report = ask.kms.protector.rewrap(actor=ask.context)
    return models.Rewrapped(
        report.kek_id, report.moved, [str(ref) for ref in report.damaged], list(report.replaced)
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/admin/tenants/{tenant_id}/policy",
        handler=get_policy,
        params=models.PolicyParams,
        answer=models.PolicyInfo,
        summary="The rules of a tenant, or of the service",
        tag=_TAG,
        operations=("policies.read",),
    ),
    Endpoint(
        method="PUT",
        path="/admin/tenants/{tenant_id}/policy",
        handler=set_policy,
        params=models.OwnerParams,
        body=models.SetPolicy,
        answer=models.PolicyInfo,
        summary="Replace the rules of a tenant, or of the service",
        tag=_TAG,
        operations=("policies.set",),
    ),
    Endpoint(
        method="GET",
        path="/admin/usage",
        handler=usage,
        params=models.UsageParams,
        answer=models.TenantStatuses,
        summary="Usage of one tenant, or of all",
        tag=_TAG,
        operations=("tenants.read",),
    ),
    Endpoint(
        method="POST",
        path="/admin/protector/rewrap",
        handler=rewrap,
        answer=models.Rewrapped,
        summary="Seal every record under the key encryption key in use",
        tag=_TAG,
        operations=("protector.rewrap",),
        changes=True,
    ),
)
