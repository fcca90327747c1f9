# SPDX-License-Identifier: Apache-2.0
"""From the models of the HTTP API to the library's values, with the checks that a schema lacks."""

import hashlib
import re
import uuid
from datetime import UTC, datetime
from typing import Final, Protocol

from qpher_backends.remote.link import BadAnswer, expect
from qpher_core.algorithms import Algorithm, find
from qpher_core.asgi import (
    models_api_keys,
    models_audit,
    models_keys,
    models_tenants,
    models_upkeep,
)
from qpher_core.asgi.models import ReceiptInfo
from qpher_core.calls import Common
from qpher_core.errors import ValidationError
from qpher_core.lifecycle import KeyState
from qpher_core.models import (
    ApiKey,
    AuditEntry,
    ImportParameters,
    KeyRef,
    KeyVersion,
    Receipt,
    Tenant,
    TenantStatus,
)
from qpher_core.policy.plans import LIMITS, Limits
from qpher_core.session_usage import UsageReport
from qpher_core.validation import check_moment

__all__ = [
    "algorithm_of",
    "api_key_of",
    "audit_entry",
    "common_of",
    "hash_of",
    "import_parameters",
    "key_version",
    "record_of",
    "tenant_id_of",
    "tenant_of",
    "time_or_none",
    "usage_report",
    "uuid_of",
]

_HASH: Final = re.compile("[0-9a-f]{64}")
_HIGHEST_VERSION: Final = 2**32 - 1
_UNLIMITED: Final = -1


class _Done(Protocol):
    @property
    def key_version(self) -> int: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def receipt(self) -> ReceiptInfo: ...


def common_of(answer: _Done, tenant_id: uuid.UUID, request_id: uuid.UUID) -> Common:
    """Return what every result of an operation on a key has."""
    return {
        "key_version": _version(answer.key_version),
        "algorithm": algorithm_of(answer.algorithm).name,
        "request_id": str(request_id),
        "receipt": _receipt(answer.receipt, tenant_id),
    }


def _receipt(info: ReceiptInfo, tenant_id: uuid.UUID) -> Receipt:
    expect(info.seq >= 0, "a receipt's place is negative")
    return Receipt(tenant_id, info.seq, hash_of(info.hash))


def key_version(info: models_keys.KeyInfo, tenant_id: uuid.UUID) -> KeyVersion:
    """Return the public side of a key version."""
    row = algorithm_of(info.algorithm)
    expect(len(info.public_key) == row.public_key_bytes, "a public key has another length")
    expect(info.revision >= 1, "a revision is less than 1")
    expect(info.status in frozenset(KeyState), "a key has an unknown status")
    return KeyVersion(
        KeyRef(tenant_id, info.name, row.name, _version(info.key_version)),
        KeyState(info.status),
        info.public_key,
        _time(info.created_at),
        _time(info.changed_at),
        info.reason,
        info.revision,
        None if info.compromised_at is None else _time(info.compromised_at),
        None if info.receipt is None else _receipt(info.receipt, tenant_id),
    )


def record_of(info: models_upkeep.RecordInfo) -> KeyRef:
    """Return which key record an answer is about."""
    name = algorithm_of(info.algorithm).name
    return KeyRef(uuid_of(info.tenant_id), info.name, name, _version(info.key_version))


def audit_entry(entry: models_audit.Entry, tenant_id: uuid.UUID) -> AuditEntry:
    """Return an audit entry whose hash is that of its bytes."""
    body = entry.body.encode("utf-8", "surrogatepass")
    found = AuditEntry(tenant_id, entry.seq, body, hash_of(entry.hash))
    expect(hashlib.sha256(body).digest() == found.hash, "an audit entry has another hash")
    return found


def import_parameters(answer: models_keys.ImportKey) -> ImportParameters:
    """Return what private keys are wrapped with."""
    row = algorithm_of(answer.algorithm)
    key = answer.encapsulation_key
    expect(len(key) == row.public_key_bytes, "an encapsulation key has another length")
    return ImportParameters(uuid_of(answer.tenant_id), row.name, _version(answer.key_version), key)


def tenant_id_of(answer: models_tenants.TenantStatusInfo) -> uuid.UUID:
    """Return the caller's tenant."""
    return uuid_of(answer.tenant_id)


def tenant_of(info: models_tenants.TenantInfo) -> Tenant:
    """Return a tenant."""
    expect(info.status in frozenset(TenantStatus), "a tenant has an unknown status")
    return Tenant(
        uuid_of(info.id),
        info.name,
        info.plan,
        TenantStatus(info.status),
        _time(info.created_at),
        _time(info.updated_at),
    )


def api_key_of(info: models_api_keys.ApiKeyInfo) -> ApiKey:
    """Return an API key, without its secret."""
    return ApiKey(
        info.id,
        uuid_of(info.tenant_id),
        info.name,
        frozenset(info.scopes),
        info.version,
        _time(info.created_at),
        time_or_none(info.expires_at),
        time_or_none(info.revoked_at),
        time_or_none(info.last_used_at),
    )


def usage_report(
    usage: models_tenants.TenantStatusInfo, tenant: models_tenants.TenantInfo
) -> UsageReport:
    """Return what a tenant uses of what it may."""
    expect(usage.tenant_id == tenant.id, "usage is of another tenant")
    known = LIMITS.get(usage.plan.name)
    return UsageReport(
        tenant_of(tenant),
        usage.usage.api_calls,
        usage.usage.kem_keys,
        usage.usage.sig_keys,
        usage.usage.api_keys,
        Limits(
            _limit(usage.limits.api_calls),
            _limit(usage.limits.kem_keys),
            _limit(usage.limits.api_keys),
            None if known is None else known.rate,
        ),
        _time(usage.renews_at),
    )


def algorithm_of(name: str) -> Algorithm:
    """Return the row of a name in an answer."""
    try:
        return find(name)
    except ValidationError:
        raise BadAnswer("an algorithm is unknown") from None


def hash_of(text: str) -> bytes:
    """Return a SHA-256 in hexadecimal as 32 bytes."""
    expect(_HASH.fullmatch(text), "a hash is not 64 hexadecimal digits")
    return bytes.fromhex(text)


def _version(number: int) -> int:
    expect(1 <= number <= _HIGHEST_VERSION, "a key version is out of range")
    return number


def _time(text: str) -> datetime:
    try:
        return check_moment(datetime.fromisoformat(text), "a time").astimezone(UTC)
    except (ValueError, ValidationError):
        raise BadAnswer("a time is not RFC 3339 with a zone") from None


def time_or_none(text: str | None) -> datetime | None:
    """Return a moment of an answer."""
    return None if text is None else _time(text)


def uuid_of(text: str) -> uuid.UUID:
    """Return an id of an answer."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise BadAnswer("an id is not a UUID") from None


def _limit(number: int) -> int | None:
    return None if number == _UNLIMITED else number
