# SPDX-License-Identifier: Apache-2.0
"""``session.usage``: what a tenant uses of what it may."""

from collections.abc import Callable
from datetime import datetime

from attrs import frozen

from qpher_core.algorithms import ALGORITHMS, Kind
from qpher_core.calls import Call, Effect, Runner
from qpher_core.lifecycle import KeyState
from qpher_core.models import RequestContext, Tenant
from qpher_core.operations import OPERATIONS
from qpher_core.policy.plans import LIMITS, Limits
from qpher_core.policy.usage import StoreUsage, next_month
from qpher_core.protocols import Store

__all__ = ["SessionUsage", "UsageReport", "report_usage"]


@frozen
class UsageReport:
    """What a tenant uses.

    Attributes:
        calls: recorded operations in this calendar month, UTC.
        kem_keys, signature_keys: key versions that exist and are not destroyed.
        api_keys: API keys that are valid.
        limits: those of the tenant's plan.
        renews_at: when the next month begins.
    """

    tenant: Tenant
    calls: int
    kem_keys: int
    signature_keys: int
    api_keys: int
    limits: Limits
    renews_at: datetime


@frozen
class SessionUsage:
    """The tenant's own usage."""

    _pipeline: Runner
    _report: Callable[[], UsageReport]
    _context: RequestContext

    def current(self) -> UsageReport:
        """Return what the tenant uses now."""
        call = Call(operation=OPERATIONS["usage.read"], execute=lambda: Effect(self._report()))
        return self._pipeline.read(self._context, call)


def report_usage(store: Store, tenant: Tenant, now: datetime) -> UsageReport:
    """Return what a tenant uses."""
    kinds = [
        ALGORITHMS[record.key.algorithm].kind
        for record in store.keys.find(tenant.id)
        if record.key.state is not KeyState.DESTROYED
    ]
    return UsageReport(
        tenant,
        StoreUsage(store.keys, store.audit, store.api_keys).calls(tenant.id, now),
        kinds.count(Kind.KEM),
        kinds.count(Kind.SIGNATURE),
        sum(record.key.valid(now) for record in store.api_keys.find(tenant.id)),
        LIMITS[tenant.plan] if tenant.plan is not None else Limits(),
        next_month(now),
    )
