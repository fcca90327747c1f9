# SPDX-License-Identifier: Apache-2.0
"""``Qpher``: what :func:`qpher_core.open` returns to the holder of the service."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, overload

from attrs import evolve

from qpher_core._threads import Threads
from qpher_core.algorithms import ALGORITHMS, Algorithm
from qpher_core.api_keys import ApiKeys
from qpher_core.audit.anchor_keys import SERVICE, AnchorKeys
from qpher_core.audit.anchors import Anchorer, AnchorSettings, AnchorThread
from qpher_core.audit.export import export_lines, write_export
from qpher_core.audit.log import StoredAuditLog
from qpher_core.audit.records import EMPTY_LOG
from qpher_core.audit.retention import Retention, Segment
from qpher_core.audit.selected import selection_lines
from qpher_core.audit.selection import EntryFilter
from qpher_core.calls import Change, Effect
from qpher_core.discovery import open_policy, open_primitives, open_store, service_factory
from qpher_core.errors import IntegrityError, NotFound, ValidationError
from qpher_core.idempotency import Idempotency
from qpher_core.importing import Importer
from qpher_core.keks import Keks
from qpher_core.key_usage import LogUsage
from qpher_core.keystore import SealedKeyStore
from qpher_core.mixed import MixedStore, mix
from qpher_core.models import (
    AuditReport,
    KeyVersion,
    PolicyDocument,
    PolicyRequest,
    Receipt,
    RequestContext,
    Tenant,
    TenantStatus,
    canonical_json,
)
from qpher_core.operations import OPERATIONS, Operation
from qpher_core.pipeline import Pipeline
from qpher_core.policy.all_of import close_engine
from qpher_core.policy.chain import DEFAULT_RULES
from qpher_core.policy.plans import check_plan
from qpher_core.protectors import PROTECTOR_DEADLINE, Protectors
from qpher_core.protocols import (
    AuditLog,
    KeyProtector,
    KeyStore,
    PolicyEngine,
    Primitives,
    Store,
    StoreWriter,
)
from qpher_core.remote import RemoteService, RemoteSettings
from qpher_core.sealing import Sealer
from qpher_core.service_anchors import Anchors
from qpher_core.service_imports import Imports
from qpher_core.service_maintenance import Maintainer, MaintenanceReport
from qpher_core.service_policies import Policies
from qpher_core.service_protector import Protector
from qpher_core.session import Session
from qpher_core.session_usage import UsageReport, report_usage
from qpher_core.validation import check_name

if TYPE_CHECKING:
    from qpher_core.aio.service import AsyncQpher

__all__ = ["Qpher", "ServiceAudit", "Tenants", "open"]

#: Tenant id of the log that records changes to the service itself. No tenant has it.
SERVICE_LOG: Final = SERVICE

_OPERATOR: Final = "operator"
_KEK_CHECK: Final = b"qpher-core check 1"
_DEFAULT_POLICY_DEADLINE: Final = 0.5


class Tenants:
    """The tenants of a service. Every change is recorded in the tenant's own log."""

    def __init__(self, store: Store, pipeline: Pipeline) -> None:
        self._store = store
        self._pipeline = pipeline

    def create(
        self, name: str, *, plan: str | None = None, actor: str | RequestContext = _OPERATOR
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
        self, tenant: str | uuid.UUID, plan: str | None, *, actor: str | RequestContext = _OPERATOR
    ) -> Tenant:
        """Change a tenant's plan; it applies from the next operation on."""
        checked = check_plan(plan)
        return self._update(tenant, actor, lambda now: evolve(now, plan=checked))

    def suspend(
        self, tenant: str | uuid.UUID, *, actor: str | RequestContext = _OPERATOR
    ) -> Tenant:
        """Refuse every operation of a tenant, from the next one on."""
        return self._update(tenant, actor, lambda t: evolve(t, status=TenantStatus.SUSPENDED))

    def resume(self, tenant: str | uuid.UUID, *, actor: str | RequestContext = _OPERATOR) -> Tenant:
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


class ServiceAudit:
    """The audit logs of all tenants, for the holder of the service."""

    def __init__(
        self,
        store: Store,
        audit: AuditLog,
        anchorer: Anchorer,
        tenants: Tenants,
        retention: Retention,
    ) -> None:
        self._store = store
        self._audit = audit
        self._anchorer = anchorer
        self._tenants = tenants
        self._retention = retention

    def verify(self, tenant: str | uuid.UUID | None = None) -> AuditReport:
        """Check chain, tree and anchors of a tenant's log, or of the service's own.

        It may grow meanwhile. What was moved out is not looked at; verify those files.
        """
        tenant_id = self._id(tenant)
        report = self._audit.verify(tenant_id)
        if not report.ok:
            return report
        base = self._store.audit.base(tenant_id) or EMPTY_LOG
        bad = self._anchorer.first_bad(tenant_id, base.size, report.entries)
        return report if bad is None else evolve(report, bad_seq=bad[0], problem=bad[1])

    def export(
        self,
        target: str | Path,
        tenant: str | uuid.UUID | None = None,
        *,
        where: EntryFilter | None = None,
    ) -> None:
        """Write the log of a tenant, or of the service itself, as JSON Lines.

        It is anchored first, so that the last anchor signs the export. A name that ends with
        ``.gz`` is compressed. ``qpher-core audit verify`` checks it anywhere.

        Args:
            target: the file.
            tenant: whose log; the service's own where none is given.
            where: which entries, each with its proof; all of the log where none is given.

        Raises:
            NotFound: there is no such tenant; or entries are chosen from an empty log.
            AuditIntegrityError: the log does not continue what was anchored before.
            OSError: the file cannot be written.
        """
        write_export(self.lines(tenant, where=where), Path(target))

    def lines(
        self, tenant: str | uuid.UUID | None = None, *, where: EntryFilter | None = None
    ) -> Iterator[bytes]:
        """Yield the lines of an export; see :meth:`export`."""
        if where is not None:
            return selection_lines(self._store, self._anchorer, self._id(tenant), where)
        return export_lines(self._store, self._anchorer, self._id(tenant))

    def move_out(
        self,
        folder: str | Path,
        tenant: str | uuid.UUID | None = None,
        *,
        until: int | datetime | None = None,
        actor: str = _OPERATOR,
    ) -> Segment:
        """Move the first entries of a log out of the store, to a file in a folder.

        Only what an anchor covers is moved. The log goes on from that anchor, and verifies from
        it; the file is an export that verifies alone and together with what comes after it
        (``verify_exports``), and gives the proofs of its entries (``prove_from_export``). That it
        was moved is itself an entry, which holds the digest of the file. Keep the file: the
        store has no copy.

        Args:
            folder: where the file goes, as ``<tenant id>-<first>-<end>.jsonl.gz``.
            tenant: whose log; the service's own where none is given.
            until: what may be moved: as many entries of the log, or what was anchored before a
                moment; the last anchor before that decides. All that is anchored, where none is
                given.
            actor: who does it, for the log.

        Raises:
            NotFound: there is no such tenant, or no anchor after what was moved before.
            StateConflict: another process moved entries out at the same moment.
            AuditIntegrityError: the log does not verify. Nothing is moved, as with the others.
            Unavailable: the last anchor could not be published everywhere.
            OSError: the file cannot be written.
        """
        return self._retention.move_out(
            self._id(tenant), Path(folder), until, check_name(actor, "actor")
        )

    def _id(self, tenant: str | uuid.UUID | None) -> uuid.UUID:
        return SERVICE_LOG if tenant is None else self._tenants.get(tenant).id

    def has(self, receipt: Receipt) -> bool:
        """Return whether the log holds the entry of a receipt, unaltered, at its place."""
        try:
            self._audit.entry(receipt)
        except (IntegrityError, NotFound):
            return False
        return True


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
        policy_deadline: float = _DEFAULT_POLICY_DEADLINE,
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
            StoreUnavailable: the store cannot be read. A key that cannot be rotated raises
                nothing; it is in the report.
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
            "store": lambda: self._store.tenants.get(SERVICE_LOG),
            "audit log": lambda: self._store.commit(
                lambda writer: writer.audit.head(SERVICE_LOG), tenant_id=SERVICE_LOG
            ),
            "protector": lambda: self._protector.derive(self._protector.kek_id, _KEK_CHECK),
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


@overload
def open(  # noqa: A001
    url: str, *, api_key: str, remote: RemoteSettings | None = None
) -> RemoteService: ...


@overload
def open(  # noqa: A001
    url: str | Store | None = None,
    *,
    keys: str | Store | None = None,
    audit: str | Store | None = None,
    policy: str | PolicyEngine | Sequence[str | PolicyEngine] = "rules:",
    protector: str | KeyProtector | Sequence[str | KeyProtector] | None = None,
    primitives: str | Primitives | None = None,
    policy_deadline: float = _DEFAULT_POLICY_DEADLINE,
    protector_deadline: float = PROTECTOR_DEADLINE,
    anchors: AnchorSettings | None = None,
) -> Qpher: ...


def open(  # noqa: A001 - qpher_core.open() is the name that reads right
    url: str | Store | None = None,
    *,
    keys: str | Store | None = None,
    audit: str | Store | None = None,
    policy: str | PolicyEngine | Sequence[str | PolicyEngine] = "rules:",
    protector: str | KeyProtector | Sequence[str | KeyProtector] | None = None,
    primitives: str | Primitives | None = None,
    policy_deadline: float = _DEFAULT_POLICY_DEADLINE,
    protector_deadline: float = PROTECTOR_DEADLINE,
    anchors: AnchorSettings | None = None,
    api_key: str | None = None,
    remote: RemoteSettings | None = None,
) -> Qpher | RemoteService:
    """Open a service, or connect to one elsewhere.

    Args:
        url: where keys, audit log, tenants and policies are kept, such as
            ``sqlite:///qpher.db`` (a relative path) or ``memory:``; or a ready-made store. Or
            the URL of a service elsewhere, ``https://…`` (docs/remote.md).
        keys: the same, under the name that it has where stores are mixed.
        audit: where the audit log and its anchors are kept, if not there.
        policy: ``rules:``, another engine (docs/policy.md) or a ready-made one; of several, all
            must allow.
        protector: who holds the key encryption key, such as ``file:///etc/qpher/kek``
            (docs/protectors.md), or several who do; the store's own choice where none is given.
        primitives: name of a provider, or a ready-made one.
        policy_deadline: seconds that a policy engine may take before it counts as unavailable.
        protector_deadline: seconds that the protector may take for one answer.
        anchors: when and where the audit logs are anchored; in the store alone, every 1,000
            entries and every minute, where none are given.
        api_key: for a service elsewhere, which decides on everything above.
        remote: deadlines, repeats and TLS of the connection to it.

    Raises:
        ValidationError: a URL or name is not one, or a package is missing.
        StoreUnavailable: the store cannot be opened.
        ProtectorUnavailable: the store holds keys, and their key encryption key is missing.
    """
    if (connect := service_factory(url)) is not None or api_key is not None or remote is not None:
        here = (keys, audit, protector, primitives, anchors)
        return _connect(connect, url, api_key, remote, policy == "rules:" and not any(here))
    provider = open_primitives(primitives)
    store = _open_target(url, keys, audit)
    try:
        _check_logs(store)
        needed = store.keys.kek_ids() | store.service_keys.kek_ids()
        chosen = store.default_protector if protector is None else protector
        guard = Protectors(_several(chosen), create=not needed, deadline=protector_deadline)
    except BaseException:
        store.close()
        raise
    try:
        for kek_id in sorted(needed):
            # A wrong KEK is noticed here, before anything is sealed under it.
            guard.derive(kek_id, _KEK_CHECK)
        _install_default_rules(store)
        engine = open_policy(policy, store)
    except BaseException:
        guard.close()
        store.close()
        raise
    return Qpher(store, guard, provider, engine, policy_deadline=policy_deadline, anchors=anchors)


def _connect(
    connect: Callable[..., RemoteService] | None,
    url: object,
    api_key: str | None,
    settings: RemoteSettings | None,
    nothing_else: bool,  # noqa: FBT001
) -> RemoteService:
    if connect is None:
        raise ValidationError(
            "api_key and remote go with the URL of a service, https://…", parameter="url"
        )
    if not nothing_else:
        raise ValidationError(
            "a service elsewhere has its own keys, audit log and policy: give url, api_key and "
            "remote alone",
            parameter="url",
        )
    return connect(url, api_key, settings or RemoteSettings())


def _open_target(
    url: str | Store | None, keys: str | Store | None, audit: str | Store | None
) -> Store:
    target = url if url is not None else keys
    if target is None:
        raise ValidationError("url is missing, such as 'sqlite:///qpher.db'", parameter="url")
    if keys is not None and keys != target:
        raise ValidationError("keys must not differ from url: leave one out", parameter="keys")
    store = open_store(target, parameter="url")
    if audit is None or audit == target:
        return store
    try:
        return mix(store, open_store(audit, parameter="audit"))
    except BaseException:
        store.close()
        raise


def _several(
    protector: str | KeyProtector | Sequence[str | KeyProtector],
) -> Sequence[str | KeyProtector]:
    if isinstance(protector, Sequence) and not isinstance(protector, str):
        return protector
    return [protector]


def _check_logs(store: Store) -> None:
    """Refuse an audit store that is not the one of these keys: every tenant has a log."""
    if not isinstance(store, MixedStore):
        return
    for tenant in store.tenants.all():
        if store.audit.head(tenant.id)[0] == 0:
            raise IntegrityError(
                f"the audit store has no log of tenant {tenant.name!r}: it belongs to other keys"
            )


def _install_default_rules(store: Store) -> None:
    if store.policies.get(None) is not None:
        return

    def work(writer: StoreWriter) -> None:
        if writer.policies.get(None) is None:
            writer.policies.insert(PolicyDocument(None, 1, DEFAULT_RULES))

    store.commit(work)


def _probe(now: datetime) -> PolicyRequest:
    """Return a request about nobody: whatever an engine decides on it, it answered."""
    return PolicyRequest(
        tenant_id=SERVICE_LOG,
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
