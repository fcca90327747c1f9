# SPDX-License-Identifier: Apache-2.0
"""Policies, usage and logs of any tenant and of the service, for administrators."""

import uuid
from typing import Final

from qpher_core.asgi import models_admin as models
from qpher_core.asgi import models_policies as policies
from qpher_core.asgi.endpoint import Ask, Endpoint, Raw
from qpher_core.asgi.routes_audit import export_of
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


def explain(ask: Ask) -> policies.Explained:
    """Say what policy would decide on a tenant's request, and which rule why."""
    body: policies.Explain = ask.body
    owner: uuid.UUID = ask.params.tenant_id
    found = ask.kms.policies.explain(
        owner,
        body.action,
        actor=body.actor,
        algorithm=body.algorithm,
        key_name=body.key_name,
        key_version=body.key_version,
        scopes=None if body.scopes is None else frozenset(body.scopes),
        payload_bytes=body.payload_bytes,
        source=body.source,
        time=body.time,
    )
    said = found.decision
    verdicts = [
        policies.VerdictInfo(one.document, one.index, one.rule, one.reason)
        for one in found.verdicts
    ]
    return policies.Explained(said.allow, said.rule, said.reason, verdicts)


def export(ask: Ask) -> Raw:
    """Export the log of a tenant or of the service, which is anchored first."""
    return export_of(ask, _owner(ask.params.tenant_id))


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
        changes=True,
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
        path="/admin/tenants/{tenant_id}/policy/explain",
        handler=explain,
        params=models.TenantParams,
        body=policies.Explain,
        answer=policies.Explained,
        summary="What policy would decide on a tenant's request, and why; nothing is done",
        tag=_TAG,
        operations=("policies.read",),
    ),
    Endpoint(
        method="GET",
        path="/admin/tenants/{tenant_id}/audit/export",
        handler=export,
        params=models.LogParams,
        answer=None,
        summary="The log of a tenant, or of the service, as JSON Lines",
        tag=_TAG,
        operations=("audit.read",),
    ),
)
