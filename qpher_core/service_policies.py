# SPDX-License-Identifier: Apache-2.0
"""``kms.policies``: the stored rules of the service and of each tenant (docs/policy.md)."""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from attrs import field, frozen

from qpher_core.algorithms import find
from qpher_core.calls import Effect
from qpher_core.errors import NotFound, ValidationError
from qpher_core.models import (
    OPERATOR,
    SERVICE,
    Decision,
    KeyRef,
    PolicyDocument,
    PolicyRequest,
    RequestContext,
    Tenant,
)
from qpher_core.operations import OPERATIONS
from qpher_core.pipeline import Pipeline
from qpher_core.policy.all_of import AllOf
from qpher_core.policy.chain import RuleChain, Verdict
from qpher_core.policy.documents import diff_documents, parse_rules, with_rotation
from qpher_core.policy.vocabulary import check_rules
from qpher_core.protocols import PolicyEngine, Store, StoreWriter
from qpher_core.validation import check_count, check_moment, check_name, check_version

__all__ = ["Explanation", "Policies"]


class _Tenants(Protocol):
    def get(self, tenant: str | uuid.UUID) -> Tenant: ...


@frozen
class Explanation:
    """What policy would decide, and why.

    Attributes:
        decision: the decision.
        verdicts: what each stored rule says, in order; empty where these do not decide.
    """

    decision: Decision
    verdicts: Sequence[Verdict] = field(factory=tuple)


class Policies:
    """The stored rules. Every change is recorded, in the tenant's log or in the service's."""

    def __init__(
        self,
        store: Store,
        pipeline: Pipeline,
        engine: PolicyEngine,
        tenants: _Tenants,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._engine = engine
        self._tenants = tenants
        self._clock = clock

    def get(self, tenant: str | uuid.UUID | None = None) -> PolicyDocument | None:
        """Return the current rules of a tenant, or of the service."""
        return self._store.policies.get(self._id(tenant))

    def decide(self, request: PolicyRequest) -> Decision:
        """Return what policy decides on a request of another service; nothing is done or recorded.

        Raises:
            ValidationError: its time is none.
            PolicyUnavailable: the engine cannot answer.
        """
        check_moment(request.time, "time")
        return self._pipeline.ask(request)

    def revision(self, number: int, tenant: str | uuid.UUID | None = None) -> PolicyDocument:
        """Return one revision of the rules of a tenant, or of the service, from 1.

        Raises:
            ValidationError: it is no number from 1.
            NotFound: there is no such revision.
        """
        if check_count(number, "number") < 1:
            raise ValidationError("number must be from 1", parameter="number")
        found = self._store.policies.revision(self._id(tenant), number)
        if found is None:
            raise NotFound("no such revision of the rules", parameter="number")
        return found

    def diff(self, old: int, new: int, tenant: str | uuid.UUID | None = None) -> str:
        """Return the difference of two revisions as a unified diff, a rule to a line.

        Raises:
            NotFound: there is no such revision.
        """
        first, second = (self.revision(number, tenant).rules for number in (old, new))
        return diff_documents(first, second, names=(f"revision {old}", f"revision {new}"))

    def explain(
        self,
        tenant: str | uuid.UUID,
        action: str,
        *,
        actor: str = OPERATOR,
        algorithm: str | None = None,
        key_name: str | None = None,
        key_version: int | None = None,
        scopes: frozenset[str] | None = None,
        payload_bytes: int = 0,
        source: str | None = None,
        time: datetime | None = None,
    ) -> Explanation:
        """Say what policy would decide on a request, and which rule why. Nothing is done.

        Raises:
            ValidationError: there is no such action or algorithm, or another part is none.
            NotFound: there is no such tenant.
            PolicyUnavailable: the engine cannot answer.
        """
        check_name(actor, "actor")
        check_count(payload_bytes, "payload_bytes")
        if key_version is not None:
            check_version(key_version)
        owner = self._tenants.get(tenant)
        if action not in OPERATIONS:
            raise ValidationError(
                f"action must be one of: {', '.join(OPERATIONS)}", parameter="action"
            )
        row = None if algorithm is None else find(algorithm)
        features = OPERATIONS[action].features
        state = None
        if row is not None and key_name is not None:
            state = self._state(owner.id, key_name, row.name, key_version)
        request = PolicyRequest(
            tenant_id=owner.id,
            plan=owner.plan,
            actor=actor,
            scopes=scopes,
            action=action,
            features=features | {"hybrid"} if row is not None and row.hybrid else features,
            key_name=key_name,
            algorithm=None if row is None else row.name,
            key_version=key_version,
            key_state=state,
            context_keys=frozenset(),
            payload_bytes=payload_bytes,
            time=time or self._clock(),
            source=source,
        )
        return Explanation(self.decide(request), _verdicts(self._engine, request))

    def _state(
        self, tenant_id: uuid.UUID, name: str, algorithm: str, version: int | None
    ) -> str | None:
        keys = self._store.keys
        if version is None:
            record = keys.active(tenant_id, name, algorithm)
        else:
            record = keys.get(KeyRef(tenant_id, name, algorithm, version))
        return None if record is None else str(record.key.state)

    def set(
        self,
        rules: str,
        *,
        tenant: str | uuid.UUID | None = None,
        actor: str | RequestContext = OPERATOR,
    ) -> PolicyDocument:
        """Replace the rules of a tenant, or of the service, from the next operation on.

        Args:
            rules: a JSON array of rules, or TOML (docs/policy.md).
            tenant: name or id; the service itself where none is given.
            actor: who does it, for the audit log.

        Raises:
            ValidationError: the rules are malformed, or name what there is not; the message names
                which.
        """
        parsed = check_rules(rules)
        tenant_id = self._id(tenant)
        if tenant_id is None and not parsed:
            raise ValidationError(
                "rules of the service must not be empty: that denies everything",
                parameter="rules",
            )

        return self._change(tenant_id, actor, lambda _: rules)

    def schedule(
        self,
        algorithm: str,
        *,
        tenant: str | uuid.UUID | None = None,
        name: str = "default",
        max_age_days: int | None = None,
        max_uses: int | None = None,
        warn_days: int | None = None,
        actor: str | RequestContext = OPERATOR,
    ) -> PolicyDocument:
        """Say when one key is to be rotated, as a rule in the tenant's document (``rotation``).

        Args:
            algorithm: the key's.
            tenant: name or id; the service itself, for every tenant's key, where none is given.
            name: the key's.
            max_age_days: how old a version may become.
            max_uses: how often it may protect. Without either, the key's schedule is removed.
            warn_days: how long before its age is reached it is due soon.
            actor: who does it, for the audit log.

        Raises:
            ValidationError: a number is not from 1.
        """
        row, key_name, tenant_id = find(algorithm), check_name(name, "name"), self._id(tenant)
        given = {"max_age_days": max_age_days, "max_uses": max_uses, "warn_days": warn_days}
        members = {name: value for name, value in given.items() if value is not None} or None

        def change(current: PolicyDocument | None) -> str:
            rules = with_rotation(current.rules if current else "[]", row.name, key_name, members)
            parse_rules(rules)
            return rules

        return self._change(tenant_id, actor, change)

    def _change(
        self,
        tenant_id: uuid.UUID | None,
        actor: str | RequestContext,
        rules_of: Callable[[PolicyDocument | None], str],
    ) -> PolicyDocument:
        """Add the next revision of a document, which may follow from the current one."""

        def change(writer: StoreWriter) -> Effect[PolicyDocument]:
            current = writer.policies.get(tenant_id)
            rules = rules_of(current)
            document = PolicyDocument(tenant_id, current.revision + 1 if current else 1, rules)
            writer.policies.insert(document)
            return Effect(document, rules.encode())

        return self._pipeline.administer(
            OPERATIONS["policies.set"], tenant_id or SERVICE, actor, change
        )

    def _id(self, tenant: str | uuid.UUID | None) -> uuid.UUID | None:
        return None if tenant is None else self._tenants.get(tenant).id


def _verdicts(engine: PolicyEngine, request: PolicyRequest) -> Sequence[Verdict]:
    """Return what the stored rules say, if they are asked, be it beside other engines."""
    engines = engine.engines if isinstance(engine, AllOf) else (engine,)
    chains = [one for one in engines if isinstance(one, RuleChain)]
    return [verdict for chain in chains for verdict in chain.explain(request)]
