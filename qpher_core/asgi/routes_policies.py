# SPDX-License-Identifier: Apache-2.0
"""Decisions on requests that another service is asked for."""

from typing import Final

from qpher_core.algorithms import find
from qpher_core.asgi import models_policies as models
from qpher_core.asgi.endpoint import Ask, Endpoint
from qpher_core.models import PolicyRequest

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
)
