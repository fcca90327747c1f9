# SPDX-License-Identifier: Apache-2.0
"""``kms.api_keys``: the credentials by which remote callers are known."""

import hmac
import logging
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from attrs import evolve, frozen

from qpher_core.api_key_format import ParsedKey, make_secret, parse_secret
from qpher_core.calls import Effect
from qpher_core.errors import (
    AuthenticationError,
    NotFound,
    PermissionDenied,
    StoreUnavailable,
    ValidationError,
)
from qpher_core.models import (
    OPERATOR,
    ApiKey,
    ApiKeyRecord,
    RequestContext,
    Tenant,
    TenantStatus,
    canonical_json,
    optional_rfc3339,
    rfc3339,
)
from qpher_core.operations import OPERATIONS
from qpher_core.pipeline import Pipeline
from qpher_core.policy.plans import LIMITS, PLANS
from qpher_core.protocols import Store, StoreWriter
from qpher_core.validation import check_moment, check_name

__all__ = ["DEFAULT_SCOPES", "SCOPES", "ApiKeys", "Authenticated"]

_log: Final = logging.getLogger("qpher_core.api_keys")

#: Every scope; ``admin`` is for the service itself and for other tenants.
SCOPES: Final = ("kem", "signatures", "keys", "audit", "api_keys", "policies", "admin")

#: Scopes of a key that is made without naming any.
DEFAULT_SCOPES: Final = ("kem", "signatures", "keys", "audit")

_USE_SECONDS: Final = 60.0  # how exactly last use is kept
_MOST_SECONDS: Final = 10 * 366 * 86_400

#: Compared with when an id is unknown, so that it takes as long as a wrong secret.
_DUMMY_HASH: Final = secrets.token_bytes(32)


class _Tenants(Protocol):
    def get(self, tenant: str | uuid.UUID) -> Tenant: ...


@frozen
class Authenticated:
    """Who a request comes from."""

    key: ApiKey
    tenant: Tenant


#: API keys by id, with their tenants; None for what there is not.
_Found = dict[str, tuple[ApiKeyRecord | None, Tenant | None]]

#: What does not have the form of a key is compared too.
_NOBODY: Final = ParsedKey("", bytes(32))


class ApiKeys:
    """API keys of every tenant. Each change is recorded in the tenant's log. Thread-safe.

    ``actor`` is a name, for the holder of the service; for a remote caller it is the context of
    the request, and scope and policy are asked first.
    """

    def __init__(
        self,
        store: Store,
        pipeline: Pipeline,
        tenants: _Tenants,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._tenants = tenants
        self._clock = clock
        self._uses: dict[str, float] = {}  # when each was last noted, to within a minute
        self._lock = threading.Lock()

    def create(
        self,
        tenant: str | uuid.UUID,
        *,
        name: str = "default",
        scopes: Iterable[str] = DEFAULT_SCOPES,
        expires_in: timedelta | None = None,
        actor: str | RequestContext = OPERATOR,
    ) -> tuple[ApiKey, str]:
        """Create an API key and return it with its secret, which is shown this once.

        Args:
            tenant: name or id.
            name: what it is for; a name may have several keys, told apart by version.
            scopes: what it may do, some of :data:`SCOPES`.
            expires_in: how long it is accepted; without end where none is given.
            actor: who does it.

        Raises:
            ValidationError: a parameter is wrong.
            NotFound: there is no such tenant.
            PermissionDenied: the tenant's plan has no more API keys.
        """
        owner, now = self._tenants.get(tenant), self._clock()
        checked, granted = check_name(name, "name"), _check_scopes(scopes)
        expires = None if expires_in is None else now + _check_span(expires_in, "expires_in")
        key_id, secret = make_secret()

        def change(writer: StoreWriter) -> Effect[ApiKey]:
            others = writer.api_keys.find(owner.id)
            _check_limit(owner, sum(record.key.valid(now) for record in others))
            version = _next_version(others, checked)
            key = ApiKey(key_id, owner.id, checked, granted, version, now, expires)
            writer.api_keys.insert(_record(key, secret))
            return Effect(key, _document(key))

        row = OPERATIONS["api_keys.create"]
        return self._pipeline.administer(row, owner.id, actor, change), secret

    def list(self, tenant: str | uuid.UUID) -> Sequence[ApiKey]:
        """Return all API keys of a tenant, valid or not, ordered by name and version."""
        return [record.key for record in self._store.api_keys.find(self._tenants.get(tenant).id)]

    def rotate(
        self,
        tenant: str | uuid.UUID,
        key_id: str,
        *,
        overlap: timedelta = timedelta(0),
        latest: datetime | None = None,
        actor: str | RequestContext = OPERATOR,
    ) -> tuple[ApiKey, str]:
        """Replace a valid API key by one of the next version; return it with its secret.

        The new one lives as long again as the old one was to live.

        Args:
            tenant: name or id.
            key_id: the key to replace.
            overlap: how long the old one is still accepted; it is revoked at once by default.
            latest: when the new one expires, if it would live longer.
            actor: who does it.

        Raises:
            ValidationError: a parameter is wrong.
            NotFound: the tenant has no such valid key.
            PermissionDenied: the tenant's plan has no rotation.
        """
        owner, now = self._tenants.get(tenant), self._clock()
        span = _check_span(overlap, "overlap", least=0)
        if latest is not None:
            check_moment(latest, "latest")
        if owner.plan is not None and "rotation" not in PLANS[owner.plan]:
            raise PermissionDenied(
                f"plan {owner.plan!r} does not include: rotation",
                rule="plan",
                code="ERR_FORBIDDEN_001",
            )
        new_id, secret = make_secret()

        def change(writer: StoreWriter) -> Effect[ApiKey]:
            record = _valid(writer, owner.id, key_id, now)
            old = record.key
            ends = min(now + span, old.expires_at or now + span)
            ended = evolve(old, expires_at=ends) if span else evolve(old, revoked_at=now)
            writer.api_keys.replace(evolve(record, key=ended))
            version = _next_version(writer.api_keys.find(owner.id), old.name)
            expires = min(filter(None, (old.renewed(now), latest)), default=None)
            key = ApiKey(new_id, owner.id, old.name, old.scopes, version, now, expires)
            writer.api_keys.insert(_record(key, secret))
            return Effect(key, _document(key))

        row = OPERATIONS["api_keys.rotate"]
        return self._pipeline.administer(row, owner.id, actor, change), secret

    def revoke(
        self, tenant: str | uuid.UUID, key_id: str, *, actor: str | RequestContext = OPERATOR
    ) -> ApiKey:
        """Refuse an API key from the next request on.

        Raises:
            NotFound: the tenant has no such key that is not revoked yet.
        """
        owner, now = self._tenants.get(tenant), self._clock()

        def change(writer: StoreWriter) -> Effect[ApiKey]:
            record = writer.api_keys.get(key_id)
            if record is None or record.key.tenant_id != owner.id or record.key.revoked_at:
                raise NotFound("no such API key", parameter="key_id")
            key = evolve(record.key, revoked_at=now)
            writer.api_keys.replace(evolve(record, key=key))
            return Effect(key, _document(key))

        return self._pipeline.administer(OPERATIONS["api_keys.revoke"], owner.id, actor, change)

    def authenticate(self, api_key: str, shared: _Found | None = None) -> Authenticated:
        """Return who an API key belongs to, and note its use.

        Args:
            api_key: as it was given.
            shared: what requests that go together have found by id already; all of them had
                arrived before the first looked.

        Raises:
            AuthenticationError: it is unknown, wrong, expired or revoked, or its tenant is
                suspended; all look alike.
            StoreUnavailable: the store cannot be read.
        """
        parts = parse_secret(api_key) or _NOBODY
        record, tenant = self._look_up(parts.id, {} if shared is None else shared)
        expected = _DUMMY_HASH if record is None else record.secret_hash
        same = hmac.compare_digest(expected, parts.secret_hash)
        if (
            record is None
            or tenant is None
            or not same
            or not record.key.valid(self._clock())
            or tenant.status is not TenantStatus.ACTIVE
        ):
            raise AuthenticationError("the API key is missing or not accepted")
        self._note_use(record.key)
        return Authenticated(record.key, tenant)

    def _look_up(self, key_id: str, shared: _Found) -> tuple[ApiKeyRecord | None, Tenant | None]:
        """Return the record of an id, and its tenant."""
        found = shared.get(key_id)
        if found is None:
            record = self._store.api_keys.get(key_id) if key_id else None
            tenant = None if record is None else self._store.tenants.get(record.key.tenant_id)
            found = shared[key_id] = record, tenant
        return found

    def _note_use(self, key: ApiKey) -> None:
        """Write down at most once a minute that a key is used."""
        now = time.monotonic()
        with self._lock:
            if now - self._uses.get(key.id, -_USE_SECONDS) < _USE_SECONDS:
                return
            self._uses[key.id] = now
        moment = self._clock()

        def work(writer: StoreWriter) -> None:
            record = writer.api_keys.get(key.id)
            if record is not None:
                writer.api_keys.replace(evolve(record, key=evolve(record.key, last_used_at=moment)))

        try:
            self._store.commit(work, tenant_id=key.tenant_id)
        except StoreUnavailable as error:
            # Whoever is authenticated may still be refused by what follows; this is no reason.
            _log.warning("last use of API key %s could not be noted: %s", key.id, error)


def _valid(writer: StoreWriter, tenant_id: uuid.UUID, key_id: str, now: datetime) -> ApiKeyRecord:
    record = writer.api_keys.get(key_id)
    if record is None or record.key.tenant_id != tenant_id or not record.key.valid(now):
        raise NotFound("no such valid API key", parameter="key_id")
    return record


def _next_version(records: Iterable[ApiKeyRecord], name: str) -> int:
    return 1 + max((record.key.version for record in records if record.key.name == name), default=0)


def _record(key: ApiKey, secret: str) -> ApiKeyRecord:
    parts = parse_secret(secret)
    if parts is None:
        raise AssertionError("a fresh API key has the form of one")
    return ApiKeyRecord(key, parts.secret_hash)


def _check_scopes(scopes: Iterable[str]) -> frozenset[str]:
    granted = frozenset([scopes] if isinstance(scopes, str) else scopes)
    if not granted or not granted <= set(SCOPES):
        raise ValidationError(
            f"scopes must be one or more of: {', '.join(SCOPES)}", parameter="scopes"
        )
    return granted


def _check_span(span: object, parameter: str, *, least: int = 1) -> timedelta:
    if not isinstance(span, timedelta) or not least <= span.total_seconds() <= _MOST_SECONDS:
        raise ValidationError(
            f"{parameter} must be from {least} s to ten years", parameter=parameter
        )
    return span


def _check_limit(tenant: Tenant, valid: int) -> None:
    limit = None if tenant.plan is None else LIMITS[tenant.plan].api_keys
    if limit is not None and valid >= limit:
        raise PermissionDenied(
            f"plan {tenant.plan!r} has {limit} valid API keys at most",
            rule="quota",
            code="ERR_FORBIDDEN_001",
        )


def _document(key: ApiKey) -> bytes:
    """Return what the audit entry's content digest covers."""
    return canonical_json(
        {
            "id": key.id,
            "tenant": str(key.tenant_id),
            "name": key.name,
            "scopes": sorted(key.scopes),
            "version": key.version,
            "created_at": rfc3339(key.created_at),
            "expires_at": optional_rfc3339(key.expires_at),
            "revoked_at": optional_rfc3339(key.revoked_at),
        }
    )
