# SPDX-License-Identifier: Apache-2.0
"""``Qpher.tenants``: creating and changing tenants."""

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from attrs import evolve

from qpher_core.calls import Effect
from qpher_core.errors import NotFound, ValidationError
from qpher_core.models import OPERATOR, RequestContext, Tenant, TenantStatus, canonical_json
from qpher_core.operations import OPERATIONS
from qpher_core.pipeline import Pipeline
from qpher_core.policy.plans import check_plan
from qpher_core.protocols import Store, StoreWriter
from qpher_core.validation import check_name

__all__ = ["Tenants"]


class Tenants:
    """The tenants of a service. Every change is recorded in the tenant's own log."""

    def __init__(self, store: Store, pipeline: Pipeline) -> None:
        self._store = store
        self._pipeline = pipeline

    def create(
        self, name: str, *, plan: str | None = None, actor: str | RequestContext = OPERATOR
    ) -> Tenant:
        """Create a tenant; without a plan it has every feature.

        Raises:
            ValidationError: the name or plan is not one, or the name reads like an id.
            StateConflict: the name exists.
        """
        now = datetime.now(UTC)
        tenant = Tenant(
            uuid.uuid4(), _tenant_name(name), check_plan(plan), TenantStatus.ACTIVE, now, now
        )

        def change(writer: StoreWriter) -> Effect[Tenant]:
            writer.tenants.insert(tenant)
            return Effect(tenant, _document(tenant))

        return self._administer("tenants.create", tenant.id, actor, change)

    def get(self, tenant: str | uuid.UUID) -> Tenant:
        """Return a tenant by name or id.

        Raises:
            NotFound: there is none.
        """
        found = self._find(tenant)
        if found is None:
            raise NotFound("no such tenant", parameter="tenant")
        return found

    def list(self) -> Sequence[Tenant]:
        """Return all tenants, by name."""
        return self._store.tenants.all()

    def set_plan(
        self, tenant: str | uuid.UUID, plan: str | None, *, actor: str | RequestContext = OPERATOR
    ) -> Tenant:
        """Change a tenant's plan; it applies from the next operation on."""
        checked = check_plan(plan)
        return self._update(tenant, actor, lambda now: evolve(now, plan=checked))

    def suspend(self, tenant: str | uuid.UUID, *, actor: str | RequestContext = OPERATOR) -> Tenant:
        """Refuse every operation of a tenant, from the next one on."""
        return self._update(tenant, actor, lambda t: evolve(t, status=TenantStatus.SUSPENDED))

    def resume(self, tenant: str | uuid.UUID, *, actor: str | RequestContext = OPERATOR) -> Tenant:
        """Undo :meth:`suspend`."""
        return self._update(tenant, actor, lambda t: evolve(t, status=TenantStatus.ACTIVE))

    def _update(
        self,
        tenant: str | uuid.UUID,
        actor: str | RequestContext,
        update: Callable[[Tenant], Tenant],
    ) -> Tenant:
        tenant_id = self.get(tenant).id

        def change(writer: StoreWriter) -> Effect[Tenant]:
            current = writer.tenants.get(tenant_id)
            if current is None:
                raise NotFound("no such tenant", parameter="tenant")
            updated = evolve(update(current), updated_at=datetime.now(UTC))
            writer.tenants.replace(updated)
            return Effect(updated, _document(updated))

        return self._administer("tenants.update", tenant_id, actor, change)

    def _administer(
        self,
        action: str,
        tenant_id: uuid.UUID,
        actor: str | RequestContext,
        change: Callable[[StoreWriter], Effect[Tenant]],
    ) -> Tenant:
        return self._pipeline.administer(OPERATIONS[action], tenant_id, actor, change)

    def _find(self, tenant: str | uuid.UUID) -> Tenant | None:
        if isinstance(tenant, uuid.UUID):
            return self._store.tenants.get(tenant)
        if not isinstance(tenant, str):
            raise ValidationError("tenant must be a name or an id", parameter="tenant")
        identifier = _as_id(tenant)
        if identifier is not None:
            return self._store.tenants.get(identifier)
        return self._store.tenants.by_name(tenant)


def _tenant_name(name: str) -> str:
    checked = check_name(name, "name")
    if _as_id(checked) is not None:
        raise ValidationError("name must not read like an id (UUID)", parameter="name")
    return checked


def _as_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _document(tenant: Tenant) -> bytes:
    return canonical_json(
        {
            "id": str(tenant.id),
            "name": tenant.name,
            "plan": tenant.plan,
            "status": str(tenant.status),
        }
    )
