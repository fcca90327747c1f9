# SPDX-License-Identifier: Apache-2.0
"""``Qpher``: what :func:`qpher_core.open` returns to the holder of the service."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from qpher_core._threads import Threads
from qpher_core.algorithms import ALGORITHMS, Algorithm
from qpher_core.api_keys import ApiKeys
from qpher_core.audit.anchor_keys import AnchorKeys
from qpher_core.audit.anchors import Anchorer, AnchorSettings, AnchorThread
from qpher_core.audit.log import StoredAuditLog
from qpher_core.audit.retention import Retention
from qpher_core.calls import Change
from qpher_core.idempotency import Idempotency
from qpher_core.importing import Importer
from qpher_core.keks import Keks
from qpher_core.key_usage import LogUsage
from qpher_core.keystore import SealedKeyStore
from qpher_core.models import SERVICE, KeyVersion, PolicyRequest, RequestContext, Tenant
from qpher_core.operations import OPERATIONS, Operation
from qpher_core.pipeline import Pipeline
from qpher_core.policy.all_of import close_engine
from qpher_core.protectors import Protectors
from qpher_core.protocols import KeyStore, PolicyEngine, Primitives, Store
from qpher_core.sealing import Sealer
from qpher_core.service_anchors import Anchors
from qpher_core.service_audit import ServiceAudit
from qpher_core.service_imports import Imports
from qpher_core.service_maintenance import Maintainer, MaintenanceReport
from qpher_core.service_policies import Policies
from qpher_core.service_protector import Protector
from qpher_core.service_tenants import Tenants
from qpher_core.session import Session
from qpher_core.session_usage import UsageReport, report_usage
from qpher_core.validation import check_name

if TYPE_CHECKING:
    from qpher_core.aio.service import AsyncQpher

__all__ = ["DEFAULT_POLICY_DEADLINE", "KEK_CHECK", "Qpher"]

#: What a KEK derives to show that it is there.
KEK_CHECK: Final = b"qpher-core check 1"

DEFAULT_POLICY_DEADLINE: Final = 0.5  # seconds


class Qpher:
    """An open service. Thread-safe; a context manager.

    Attributes:
        tenants: creating and changing tenants.
        api_keys: credentials of remote callers.
        idempotency: what is remembered of calls with idempotency keys.
        policies: the stored rules.
        audit: verifying the logs.
        anchors: signed states of the logs.
        protector: the key encryption keys.
        imports: the keys that private keys are wrapped to when callers bring their own.
    """

    def __init__(
        self,
        store: Store,
        protector: Protectors,
        primitives: Primitives,
        policy: PolicyEngine,
        *,
        policy_deadline: float = DEFAULT_POLICY_DEADLINE,
        anchors: AnchorSettings | None = None,
    ) -> None:
        self._store = store
        self._protector = protector
        self._primitives = primitives
        self._policy = policy
        sealer = Sealer(protector)
        keks = Keks(store, sealer, first=lambda: protector.kek_id, clock=_now)
        self._service_keys = SealedKeyStore(store, sealer, keks, primitives, service=True)
        importer = Importer(self._service_keys, self._administer, clock=_now)
        self._keys = SealedKeyStore(store, sealer, keks, primitives, importer=importer)
        self._audit = StoredAuditLog(store.audit, _now)
        settings = anchors or AnchorSettings()
        self._policy_deadline = policy_deadline
        self._pipeline = self._make_pipeline(self._keys)
        self._anchorer = self._make_anchorer(settings)
        self.tenants = Tenants(store, self._pipeline)
        self.api_keys = ApiKeys(store, self._pipeline, self.tenants, _now)
        self.idempotency = Idempotency(store, protector, keks.current, _now)
        self.policies = Policies(store, self._pipeline, policy, self.tenants, _now)
        self._usage = LogUsage(store.audit.read, store.audit.base)
        retention = Retention(store, self._anchorer, self._pipeline, self._usage)
        self.audit = ServiceAudit(store, self._audit, self._anchorer, self.tenants, retention)
        self.anchors = Anchors(store, self._anchorer)
        self.imports = Imports(importer)
        self.protector = Protector(store, self._pipeline, protector, sealer, keks)
        self._maintainer = Maintainer(
            self._pipeline, self._keys, store.policies, self._usage, self.tenants, _now
        )
        self._thread = AnchorThread(store, self._anchorer, settings)
        self._audit.appended = self._thread.appended
        self._thread.start()
        self._threads = Threads()

    def _administer(
        self, operation: Operation, tenant_id: uuid.UUID, actor: str, change: Change[KeyVersion]
    ) -> KeyVersion:
        return self._pipeline.administer(operation, tenant_id, actor, change)

    def _make_pipeline(self, keys: KeyStore) -> Pipeline:
        return Pipeline(
            self._store,
            keys,
            self._audit,
            self._policy,
            clock=_now,
            policy_deadline=self._policy_deadline,
        )

    def _make_anchorer(self, settings: AnchorSettings) -> Anchorer:
        keys = AnchorKeys(
            self._store,
            self._service_keys,
            self._pipeline,
            service=settings.service,
            clock=_now,
        )
        return Anchorer(self._store, keys, self._primitives, settings, clock=_now)

    def __repr__(self) -> str:
        return f"<Qpher with {self._primitives.name!r} primitives>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def aio(self) -> "AsyncQpher":
        """The same surface as coroutines (docs/asyncio.md)."""
        from qpher_core.aio.service import AsyncQpher  # noqa: PLC0415 - it names our methods

        return AsyncQpher(self, self._threads)

    @property
    def local(self) -> bool:
        """Whether operations wait for no network: neither the policy engine's nor the store's."""
        asks = getattr(self._policy, "may_block", True)
        return not asks and getattr(self._store, "local", False)

    @property
    def algorithms(self) -> Sequence[Algorithm]:
        """The algorithms that this service's provider has."""
        have = {*self._primitives.kems, *self._primitives.signatures}
        return [row for row in ALGORITHMS.values() if row.name in have]

    def session(
        self, tenant: str | uuid.UUID, *, actor: str, keys: KeyStore | None = None
    ) -> Session:
        """Return a view of one tenant for one actor, whom policy and audit log will know.

        Args:
            tenant: name or id.
            actor: who acts.
            keys: where the tenant's keys are, if not in this store, such as a service elsewhere
                (docs/remote.md). Policy decides and the log records here all the same.

        Raises:
            NotFound: there is no such tenant.
        """
        context = RequestContext(self.tenants.get(tenant).id, check_name(actor, "actor"))
        if keys is None:
            return self.within(context)
        return self._view(context, self._make_pipeline(keys), keys)

    def within(self, context: RequestContext) -> Session:
        """Return the session of one request. The pipeline checks the tenant with each call."""
        return self._view(context, self._pipeline, self._keys)

    def _view(self, context: RequestContext, pipeline: Pipeline, keys: KeyStore) -> Session:
        return Session(
            pipeline,
            keys,
            self._audit,
            self._anchorer,
            self.usage_of,
            context,
            uses=self._usage,
        )

    def usage_of(self, tenant: str | uuid.UUID) -> UsageReport:
        """Return what a tenant uses of what it may.

        Raises:
            NotFound: there is no such tenant.
        """
        return report_usage(self._store, self.tenants.get(tenant), _now())

    def maintain(
        self,
        tenant: str | uuid.UUID | None = None,
        *,
        dry_run: bool = False,
        actor: str | RequestContext = "maintenance",
    ) -> MaintenanceReport:
        """Rotate every key that is due by the rotation rules (docs/policy.md).

        Callers go on meanwhile: what protects with the active version takes the new one from its
        commit on. Several nodes may run it; a version is replaced once.

        Args:
            tenant: name or id; all tenants where none is given.
            dry_run: only say what is due.
            actor: who does it, for policy and audit log.

        Raises:
            NotFound: there is no such tenant.
            AuditUnavailable: it cannot be recorded; keys may have been rotated all the same.
            StoreUnavailable: the store cannot be read. A key that cannot be rotated, and a tenant
                whose rules, keys or log cannot be read, raise nothing; they are in the report.
        """
        return self._maintainer.run(tenant, actor, dry_run=dry_run)

    def permit(
        self, context: RequestContext, action: str, tenant: Tenant | uuid.UUID | None = None
    ) -> None:
        """Let a remote caller go on with what belongs to the service or to a tenant as a whole.

        Args:
            context: the caller's.
            action: an administrative row of the table of operations.
            tenant: the tenant that it is about.

        Raises:
            PermissionDenied: scope or policy denies it; that is recorded.
            PolicyUnavailable: the policy engine cannot answer.
        """
        owner = tenant.id if isinstance(tenant, Tenant) else tenant
        self._pipeline.observe(context, OPERATIONS[action], owner)

    def checks(self) -> Mapping[str, Callable[[], object]]:
        """Return a check of each part that every operation needs; one that raises cannot answer."""
        return {
            "store": lambda: self._store.tenants.get(SERVICE),
            "audit log": lambda: self._store.commit(
                lambda writer: writer.audit.head(SERVICE), tenant_id=SERVICE
            ),
            "protector": lambda: self._protector.derive(self._protector.kek_id, KEK_CHECK),
            "policy engine": lambda: self._pipeline.ask(_probe(_now())),
        }

    def close(self) -> None:
        """Wipe opened keys and release the store. Idempotent."""
        self._threads.close()
        self._thread.stop()
        self._keys.close()
        self._service_keys.close()
        self._protector.close()
        close_engine(self._policy)
        self._store.close()


def _probe(now: datetime) -> PolicyRequest:
    """Return a request about nobody: whatever an engine decides on it, it answered."""
    return PolicyRequest(
        tenant_id=SERVICE,
        plan=None,
        actor="readiness",
        scopes=frozenset(),
        action="keys.list",
        features=frozenset(),
        key_name=None,
        algorithm=None,
        key_version=None,
        key_state=None,
        context_keys=frozenset(),
        payload_bytes=0,
        time=now,
        source=None,
    )


def _now() -> datetime:
    return datetime.now(UTC)
