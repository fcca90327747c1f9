# SPDX-License-Identifier: Apache-2.0
"""A service as coroutines, here (``Qpher``) and elsewhere (``RemoteService``)."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Self

from qpher_core.administration import (
    Administration,
    ApiKeyAdministration,
    LogAdministration,
    PolicyAdministration,
    ProtectorAdministration,
    TenantAdministration,
)
from qpher_core.aio.crossing import Threads, View, crossed, streamed, viewed
from qpher_core.aio.session import AsyncSession
from qpher_core.algorithms import Algorithm
from qpher_core.api_keys import ApiKeys
from qpher_core.idempotency import Idempotency
from qpher_core.remote import RemoteService
from qpher_core.service import Qpher
from qpher_core.service_anchors import Anchors
from qpher_core.service_audit import ServiceAudit
from qpher_core.service_imports import Imports
from qpher_core.service_policies import Policies
from qpher_core.service_protector import Protector
from qpher_core.service_tenants import Tenants

__all__ = ["AsyncQpher", "AsyncRemoteService"]


class AsyncTenants(View):
    """``kms.aio.tenants``."""

    create = crossed(Tenants.create)
    get = crossed(Tenants.get)
    list = crossed(Tenants.list)
    resume = crossed(Tenants.resume)
    set_plan = crossed(Tenants.set_plan)
    suspend = crossed(Tenants.suspend)


class AsyncServiceAudit(View):
    """``kms.aio.audit``."""

    export = crossed(ServiceAudit.export)
    has = crossed(ServiceAudit.has)
    lines = streamed(ServiceAudit.lines)
    move_out = crossed(ServiceAudit.move_out)
    verify = crossed(ServiceAudit.verify)


class AsyncAnchors(View):
    """``kms.aio.anchors``."""

    check = crossed(Anchors.check)
    key = crossed(Anchors.key)
    keys = crossed(Anchors.keys)
    latest = crossed(Anchors.latest)
    list = streamed(Anchors.list)
    publish = crossed(Anchors.publish)
    rotate = crossed(Anchors.rotate)
    statements = crossed(Anchors.statements)


class AsyncImports(View):
    """``kms.aio.imports``."""

    rotate = crossed(Imports.rotate)


class AsyncPolicies(View):
    """``kms.aio.policies``."""

    decide = crossed(Policies.decide)
    diff = crossed(Policies.diff)
    explain = crossed(Policies.explain)
    get = crossed(Policies.get)
    revision = crossed(Policies.revision)
    schedule = crossed(Policies.schedule)
    set = crossed(Policies.set)


class AsyncProtector(View):
    """``kms.aio.protector``."""

    rewrap = crossed(Protector.rewrap)
    status = crossed(Protector.status)
    use = crossed(Protector.use)


class AsyncApiKeys(View):
    """``kms.aio.api_keys``."""

    authenticate = crossed(ApiKeys.authenticate)
    create = crossed(ApiKeys.create)
    list = crossed(ApiKeys.list)
    revoke = crossed(ApiKeys.revoke)
    rotate = crossed(ApiKeys.rotate)


class AsyncIdempotency(View):
    """``kms.aio.idempotency``."""

    abandon = crossed(Idempotency.abandon)
    begin = crossed(Idempotency.begin)
    finish = crossed(Idempotency.finish)


class _Service(View):
    """What both kinds have: they close, and are asynchronous context managers."""

    _target: Qpher | RemoteService

    async def close(self) -> None:
        """Wait for the calls under way, then close what this is a view of. Idempotent."""
        await asyncio.to_thread(self._target.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncQpher(_Service):
    """An open service; see :class:`~qpher_core.service.Qpher`.

    Attributes:
        tenants: creating and changing tenants.
        api_keys: credentials of remote callers.
        idempotency: what is remembered of calls with idempotency keys.
        policies: the stored rules.
        audit: verifying, exporting and moving out the logs.
        anchors: signed states of the logs.
        protector: the key encryption keys.
        imports: the keys that private keys are wrapped to when callers bring their own.
    """

    session = viewed(Qpher.session, AsyncSession)
    within = viewed(Qpher.within, AsyncSession)
    usage_of = crossed(Qpher.usage_of)
    maintain = crossed(Qpher.maintain)
    permit = crossed(Qpher.permit)

    def __init__(self, kms: Qpher, threads: Threads) -> None:
        super().__init__(kms, threads)
        self._kms = kms
        self.tenants = AsyncTenants(kms.tenants, threads)
        self.api_keys = AsyncApiKeys(kms.api_keys, threads)
        self.idempotency = AsyncIdempotency(kms.idempotency, threads)
        self.policies = AsyncPolicies(kms.policies, threads)
        self.audit = AsyncServiceAudit(kms.audit, threads)
        self.anchors = AsyncAnchors(kms.anchors, threads)
        self.protector = AsyncProtector(kms.protector, threads)
        self.imports = AsyncImports(kms.imports, threads)

    @property
    def algorithms(self) -> Sequence[Algorithm]:
        """The algorithms that this service's provider has."""
        return self._kms.algorithms

    @property
    def local(self) -> bool:
        """As :attr:`Qpher.local <qpher_core.service.Qpher.local>`."""
        return self._kms.local

    async def checks(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, object]]]:
        """Return a check of each part that every operation needs; to be awaited."""
        checks = self._kms.checks()
        return {name: partial(self._threads.run, check) for name, check in checks.items()}


class _AsyncTenants(View):
    create = crossed(TenantAdministration.create)
    list = crossed(TenantAdministration.list)
    resume = crossed(TenantAdministration.resume)
    set_plan = crossed(TenantAdministration.set_plan)
    suspend = crossed(TenantAdministration.suspend)


class _AsyncApiKeys(View):
    create = crossed(ApiKeyAdministration.create)
    list = crossed(ApiKeyAdministration.list)
    revoke = crossed(ApiKeyAdministration.revoke)
    rotate = crossed(ApiKeyAdministration.rotate)


class _AsyncLogs(View):
    export = crossed(LogAdministration.export)


class _AsyncProtector(View):
    rewrap = crossed(ProtectorAdministration.rewrap)
    status = crossed(ProtectorAdministration.status)


class _AsyncPolicies(View):
    diff = crossed(PolicyAdministration.diff)
    explain = crossed(PolicyAdministration.explain)
    get = crossed(PolicyAdministration.get)
    revision = crossed(PolicyAdministration.revision)
    set = crossed(PolicyAdministration.set)


class AsyncAdministration(View):
    """Administers a service elsewhere; see ``RemoteService.administration``."""

    maintain = crossed(Administration.maintain)

    def __init__(self, administration: Administration, threads: Threads) -> None:
        super().__init__(administration, threads)
        self.tenants = _AsyncTenants(administration.tenants, threads)
        self.api_keys = _AsyncApiKeys(administration.api_keys, threads)
        self.policies = _AsyncPolicies(administration.policies, threads)
        self.protector = _AsyncProtector(administration.protector, threads)
        self.audit = _AsyncLogs(administration.audit, threads)


class AsyncRemoteService(_Service):
    """A connection to a service elsewhere; see :class:`~qpher_core.remote.RemoteService`."""

    session = viewed(RemoteService.session, AsyncSession)
    key_store = crossed(RemoteService.key_store)
    audit_log = crossed(RemoteService.audit_log)
    anchor_keys = crossed(RemoteService.anchor_keys)
    administration = viewed(RemoteService.administration, AsyncAdministration)
