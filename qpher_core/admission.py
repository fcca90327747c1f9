# SPDX-License-Identifier: Apache-2.0
"""What comes before a call is executed: its scope, the question to policy, its key's state."""

from datetime import datetime
from typing import Final, TypeVar

from attrs import evolve

from qpher_core.calls import Combined, KeyCall, Request
from qpher_core.errors import NotFound, PermissionDenied, QpherError, RateLimited, StateConflict
from qpher_core.lifecycle import KeyState
from qpher_core.models import Decision, KeyVersion, PolicyRequest, RequestContext, Tenant
from qpher_core.operations import Operation

__all__ = ["check_scope", "denial", "is_compromised", "policy_questions", "usable_key"]

T = TypeVar("T")

_ADMIN: Final = "admin"


def check_scope(context: RequestContext, operation: Operation, *, foreign: bool) -> None:
    """Refuse a caller without the scope; what is another tenant's needs ``admin``."""
    scope = _ADMIN if foreign else operation.scope
    if context.scopes is None or scope in context.scopes:
        return
    if operation.administrative and _ADMIN in context.scopes:
        return
    raise PermissionDenied(
        f"the caller lacks the scope {scope!r}", rule="scope", code="ERR_FORBIDDEN_001"
    )


def denial(operation: Operation, decision: Decision) -> QpherError:
    """Return the error of a denial; a quota that is used up is the caller's to wait for."""
    if decision.rule == "quota":
        return RateLimited(f"quota: {decision.reason}", code="ERR_QUOTA_001")
    return PermissionDenied(
        f"policy denies {operation.action}: {decision.reason}",
        rule=decision.rule,
        code="ERR_FORBIDDEN_001" if decision.rule == "plan" else None,
    )


def is_compromised(key: KeyVersion | None) -> bool:
    """Return whether there is a key and it was marked as compromised."""
    return key is not None and key.state is KeyState.COMPROMISED


def usable_key(call: KeyCall[T], key: KeyVersion | None) -> KeyVersion:
    """Return the key if it exists in a state that allows the operation."""
    selector, operation = call.selector, call.operation
    algorithm = selector.algorithm.name
    if key is None:
        which = "active" if selector.version is None else f"version {selector.version} of the"
        raise NotFound(f"no {which} {algorithm} key {selector.name!r}", code="ERR_KMS_002")
    if not operation.states or key.state in operation.states:
        return key
    if key.state is KeyState.COMPROMISED and operation.accepts_compromised:
        if call.accept_compromised:
            return key
        raise StateConflict(
            f"{key.ref} is compromised; {operation.action} needs accept_compromised=True"
        )
    raise StateConflict(
        f"{key.ref} is {key.state}; {operation.action} needs "
        f"{' or '.join(sorted(operation.states))}"
    )


def policy_questions(
    context: RequestContext, tenant: Tenant, call: Request, key: KeyVersion | None, now: datetime
) -> list[PolicyRequest]:
    """Return what the policy engine is asked; all must be allowed."""
    selector = call.selector
    hybrid = selector is not None and selector.algorithm.hybrid
    features = call.operation.features | call.features()
    question = PolicyRequest(
        tenant_id=tenant.id,
        plan=tenant.plan,
        actor=context.actor,
        scopes=context.scopes,
        action=call.operation.action,
        features=features | {"hybrid"} if hybrid else features,
        key_name=selector.name if selector else None,
        algorithm=selector.algorithm.name if selector else None,
        key_version=key.version if key else selector.version if selector else None,
        key_state=str(key.state) if key else None,
        context_keys=frozenset(call.context),
        payload_bytes=call.payload_bytes,
        time=now,
        source=context.source,
    )
    if not isinstance(call, Combined):
        return [question]
    return [evolve(question, payload_bytes=size) for size in call.sizes]
