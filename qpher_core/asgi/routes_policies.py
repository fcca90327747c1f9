# SPDX-License-Identifier: Apache-2.0
"""Decisions for another service; the rules of any tenant and of the service."""

import uuid
from typing import Final

from qpher_core.algorithms import find
from qpher_core.asgi import models_policies as models
from qpher_core.asgi.endpoint import Ask, Endpoint
from qpher_core.asgi.models_tenants import OwnerParams, TenantParams
from qpher_core.asgi.routes_tenants import owner_of
from qpher_core.errors import NotFound
from qpher_core.models import PolicyDocument, PolicyRequest

__all__ = ["ENDPOINTS"]


def decide(ask: Ask) -> models.Decided:
    """Decide on a request as one of the caller's tenant; nothing is done."""
    body: models.Decide = ask.body
    ask.kms.permit(ask.context, "policies.decide")
    decision = ask.kms.policies.decide(
        PolicyRequest(
            tenant_id=ask.tenant.id,
            plan=ask.tenant.plan,
            actor=body.actor,
            scopes=None if body.scopes is None else frozenset(body.scopes),
            action=body.action,
            features=frozenset(body.features),
            key_name=body.key_name,
            algorithm=None if body.algorithm is None else find(body.algorithm).name,
            key_version=body.key_version,
            key_state=None if body.key_state is None else str(body.key_state),
            context_keys=frozenset(body.context_keys),
            payload_bytes=body.payload_bytes,
            time=body.time,
            source=body.source,
        )
    )
    return models.Decided(decision.allow, decision.rule, decision.reason)


def get(ask: Ask) -> models.PolicyInfo:
    """Return the rules of a tenant or of the service."""
    params: models.PolicyParams = ask.params
    owner = owner_of(params)
    ask.kms.permit(ask.context, "policies.read", owner)
    if params.revision is not None:
        return _policy_info(ask.kms.policies.revision(params.revision, owner))
    document = ask.kms.policies.get(owner)
    if document is None:
        raise NotFound("the tenant has no rules of its own")
    return _policy_info(document)


def replace(ask: Ask) -> models.PolicyInfo:
    """Replace the rules of a tenant or of the service."""
    owner = owner_of(ask.params)
    body: models.SetPolicy = ask.body
    return _policy_info(ask.kms.policies.set(body.rules, tenant=owner, actor=ask.context))


def _policy_info(document: PolicyDocument) -> models.PolicyInfo:
    return models.PolicyInfo(document.revision, document.rules)


def explain(ask: Ask) -> models.Explained:
    """Say what policy would decide on a tenant's request, and which rule why."""
    body: models.Explain = ask.body
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
        models.VerdictInfo(one.document, one.index, one.rule, one.reason) for one in found.verdicts
    ]
    return models.Explained(said.allow, said.rule, said.reason, verdicts)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/policies/decide",
        handler=decide,
        body=models.Decide,
        answer=models.Decided,
        summary="What policy decides on a request of another service; nothing is done",
        tag="Policies",
        operations=("policies.decide",),
    ),
    Endpoint(
        method="GET",
        path="/admin/tenants/{tenant_id}/policy",
        handler=get,
        params=models.PolicyParams,
        answer=models.PolicyInfo,
        summary="The rules of a tenant, or of the service",
        tag="Administration",
        operations=("policies.read",),
    ),
    Endpoint(
        method="PUT",
        path="/admin/tenants/{tenant_id}/policy",
        handler=replace,
        params=OwnerParams,
        body=models.SetPolicy,
        answer=models.PolicyInfo,
        summary="Replace the rules of a tenant, or of the service",
        tag="Administration",
        operations=("policies.set",),
        changes=True,
    ),
    Endpoint(
        method="POST",
        path="/admin/tenants/{tenant_id}/policy/explain",
        handler=explain,
        params=TenantParams,
        body=models.Explain,
        answer=models.Explained,
        summary="What policy would decide on a tenant's request, and why; nothing is done",
        tag="Administration",
        operations=("policies.read",),
    ),
)
