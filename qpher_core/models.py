# SPDX-License-Identifier: Apache-2.0
"""Value types: tenants, keys, audit entries, policy questions. All are immutable."""

import base64
import enum
import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self

from attrs import field, frozen

from qpher_core.errors import ValidationError
from qpher_core.lifecycle import KeyState
from qpher_core.public_keys import to_jwk, to_pem, to_spki

__all__ = [
    "ApiKey",
    "ApiKeyRecord",
    "AuditEntry",
    "AuditReport",
    "Decision",
    "IdempotencyRecord",
    "ImportParameters",
    "Intent",
    "KeyRecord",
    "KeyRef",
    "KeyVersion",
    "PolicyDocument",
    "PolicyRequest",
    "ProtectorStatus",
    "Receipt",
    "RequestContext",
    "RewrapReport",
    "Tenant",
    "TenantStatus",
    "canonical_json",
    "rfc3339",
]

_IMPORT_FORMAT: Final = "qpher-import-parameters/1"
_SORTING: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
)
_KEEPING: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical_json(value: Mapping[str, object]) -> bytes:
    """RFC 8785 bytes of a document of strings, integers, nulls, lists and objects.

    For these types the standard encoder with sorted keys gives exactly the canonical form, but
    for the order of member names beyond ASCII; a property test compares it with a reference
    implementation. Floats have another canonical form and must not be passed.
    """
    text = _SORTING.encode(value)
    return (text if text.isascii() else _KEEPING.encode(_in_order(value))).encode()


def _in_order(value: object) -> object:
    """Return a copy whose members are in the order of RFC 8785 section 3.2.3: by UTF-16 units."""
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return {name: _in_order(value[name]) for name in names}
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    return value


def rfc3339(moment: datetime) -> str:
    """UTC time with microseconds: ``2026-01-31T23:59:59.000000Z``."""
    m = moment  # every entry has a time, and isoformat() and format() take twice as long
    parts = (m.year, m.month, m.day, m.hour, m.minute, m.second, m.microsecond)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % parts  # noqa: UP031


class TenantStatus(enum.StrEnum):
    """Whether a tenant may do anything at all."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@frozen
class Tenant:
    """One tenant. ``plan`` is None for tenants that have everything."""

    id: uuid.UUID
    name: str
    plan: str | None
    status: TenantStatus
    created_at: datetime
    updated_at: datetime


@frozen
class RequestContext:
    """Who asks, for which tenant. Immutable; carried through every call of one request.

    Attributes:
        scopes: scopes of the caller; None for a caller who holds the service itself.
        source: the caller's network address.
        request_id: id of the request, which its audit entries carry; a new one for each call
            where none is given.
    """

    tenant_id: uuid.UUID
    actor: str
    scopes: frozenset[str] | None = None
    source: str | None = None
    request_id: uuid.UUID | None = None


@frozen(cache_hash=True)
class KeyRef:
    """Full address of one key version."""

    tenant_id: uuid.UUID
    name: str
    algorithm: str
    version: int

    def __str__(self) -> str:
        return f"{self.algorithm} key {self.name!r} version {self.version}"


@frozen(cache_hash=True)
class KeyVersion:
    """The public side of one key version.

    Attributes:
        revision: counts the changes of this record; opened keys are cached under it.
        changed_at, reason: when and why the state last changed.
        compromised_at: when the key was first marked as compromised. It stays whatever follows,
            so that archiving and restoring does not make a compromised key a good one.
        receipt: of the operation that made or changed it, where it is the result of one; not part
            of what the key is.
    """

    ref: KeyRef
    state: KeyState
    public_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    created_at: datetime
    changed_at: datetime
    reason: str
    revision: int
    compromised_at: datetime | None = None
    receipt: "Receipt | None" = field(default=None, eq=False, repr=False)

    @property
    def name(self) -> str:
        """Key name; ``default`` unless another was chosen."""
        return self.ref.name

    @property
    def algorithm(self) -> str:
        """Canonical algorithm name."""
        return self.ref.algorithm

    @property
    def version(self) -> int:
        """Version, counted from 1."""
        return self.ref.version

    @property
    def key_version(self) -> int:
        """As :attr:`version`; the name that the Qpher SDK uses."""
        return self.ref.version

    @property
    def status(self) -> str:
        """As :attr:`state`, as text; the name that the Qpher SDK uses."""
        return str(self.state)

    def to_spki(self) -> bytes:
        """Return the public key as DER SubjectPublicKeyInfo (RFC 9881, RFC 9935)."""
        return to_spki(self.algorithm, self.public_key)

    def to_pem(self) -> str:
        """Return the public key as PEM text."""
        return to_pem(self.algorithm, self.public_key)

    def to_jwk(self) -> dict[str, str]:
        """Return the public key as JSON Web Key (RFC 9964); ``ValidationError`` but for ML-DSA."""
        return to_jwk(self.algorithm, self.public_key)


@frozen
class ImportParameters:
    """What a caller needs to wrap a private key for a tenant: ``qpher_core.wrap_private_key``.

    Attributes:
        tenant_id: the tenant that the key is for.
        algorithm: KEM of the import key.
        key_version: its version.
        encapsulation_key: its public part. Check where it comes from: who can exchange it reads
            the private keys that are wrapped to it.
    """

    tenant_id: uuid.UUID
    algorithm: str
    key_version: int
    encapsulation_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    def to_json(self) -> str:
        """Return them as text, for a machine without a connection."""
        return canonical_json(
            {
                "format": _IMPORT_FORMAT,
                "tenant": str(self.tenant_id),
                "algorithm": self.algorithm,
                "key_version": self.key_version,
                "encapsulation_key": base64.b64encode(self.encapsulation_key).decode(),
            }
        ).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the parameters of a text.

        Raises:
            ValidationError: it holds something else.
        """
        try:
            document = json.loads(text)
            parameters = cls(
                uuid.UUID(str(document["tenant"])),
                str(document["algorithm"]),
                int(str(document["key_version"])),
                base64.b64decode(document["encapsulation_key"], validate=True),
            )
            expected = parameters.to_json()
        except (ValueError, KeyError, TypeError, RecursionError):
            expected = None
        if expected is None or json.loads(expected) != document:
            raise ValidationError("text must be import parameters", parameter="text")
        return parameters


@frozen
class KeyRecord:
    """What a backend persists for one key version.

    Attributes:
        sealed: the seed, sealed under the key encryption key ``kek_id``; None once destroyed.
    """

    key: KeyVersion
    kek_id: str
    sealed: bytes | None = field(repr=False)


@frozen
class ApiKey:
    """One API key, without its secret.

    Attributes:
        id: 12 characters, the part of the key that is no secret.
        scopes: what it may do: rows of the table of operations name them.
        version: counts the keys of one name, from 1.
        expires_at: from this moment on it is refused.
        revoked_at: when it was revoked; refused since.
        last_used_at: when it was last used, to within a minute.
    """

    id: str
    tenant_id: uuid.UUID
    name: str
    scopes: frozenset[str]
    version: int
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def renewed(self, now: datetime) -> datetime | None:
        """Return when a successor that is made now expires: it lives as long again."""
        return None if self.expires_at is None else now + (self.expires_at - self.created_at)

    def valid(self, now: datetime) -> bool:
        """Return whether it is accepted at a moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@frozen
class ApiKeyRecord:
    """What a backend persists for one API key.

    Attributes:
        secret_hash: SHA-256 of the secret part, 32 bytes.
    """

    key: ApiKey
    secret_hash: bytes = field(repr=False)


@frozen
class IdempotencyRecord:
    """A call that was given an idempotency key.

    Attributes:
        key_hash: SHA-256 of the idempotency key, 32 bytes.
        fingerprint: SHA-256 of the request, 32 bytes: the key stands for no other one.
        answer: the sealed answer; None while the call is under way, and for ever if it was cut
            short.
    """

    tenant_id: uuid.UUID
    key_hash: bytes
    fingerprint: bytes
    request_id: uuid.UUID
    created_at: datetime
    answer: bytes | None = field(repr=False)


@frozen
class Receipt:
    """Proof of order: where an operation stands in its tenant's audit log.

    Attributes:
        hash: SHA-256 of the entry's canonical bytes, 32 bytes.
    """

    tenant_id: uuid.UUID
    seq: int
    hash: bytes = field(repr=bytes.hex)


@frozen
class AuditEntry:
    """One entry of a tenant's log; docs/formats.md defines its canonical bytes.

    Attributes:
        body: the canonical bytes, which everything else is parsed from.
        hash: SHA-256 of ``body``, 32 bytes.
    """

    tenant_id: uuid.UUID
    seq: int
    body: bytes = field(repr=False)
    hash: bytes = field(repr=bytes.hex)

    @property
    def fields(self) -> dict[str, Any]:
        """The entry's fields, parsed from its canonical bytes."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def receipt(self) -> Receipt:
        """The receipt that the operation returned."""
        return Receipt(self.tenant_id, self.seq, self.hash)


@frozen
class Intent:
    """A change of keys whose audit entries are kept in another store (``qpher_core.mixed``).

    Attributes:
        entries: tenant and place of the entries that tell of the change.
    """

    id: uuid.UUID
    entries: tuple[tuple[uuid.UUID, int], ...]


@frozen
class AuditReport:
    """Outcome of verifying one tenant's log.

    Attributes:
        entries: how many entries were checked and found good.
        bad_seq: the first entry that is wrong, or None.
        problem: what is wrong with it, or an empty string.
        head: hash of the last good entry, 32 bytes (zeros for an empty log).
    """

    tenant_id: uuid.UUID
    entries: int
    bad_seq: int | None
    problem: str
    head: bytes = field(repr=bytes.hex)

    @property
    def ok(self) -> bool:
        """Whether the whole log is good."""
        return self.bad_seq is None


@frozen
class PolicyRequest:
    """What a policy engine decides on. It never holds a secret, payload or context value."""

    tenant_id: uuid.UUID
    plan: str | None
    actor: str
    scopes: frozenset[str] | None
    action: str
    features: frozenset[str]
    key_name: str | None
    algorithm: str | None
    key_version: int | None
    key_state: str | None
    context_keys: frozenset[str]
    payload_bytes: int
    time: datetime
    source: str | None


@frozen
class Decision:
    """A policy engine's answer. Only ``allow is True`` allows."""

    allow: bool
    rule: str
    reason: str


@frozen
class PolicyDocument:
    """A stored policy: the rules of one tenant, or of the service (``tenant_id`` None)."""

    tenant_id: uuid.UUID | None
    revision: int
    rules: str


@frozen
class ProtectorStatus:
    """Which key encryption keys (KEKs) a store is sealed under.

    Attributes:
        kek_id: the one that seals.
        records: how many key records are sealed under each.
        replaced: those that were in use, and that no record needs any more.
    """

    kek_id: str
    records: Mapping[str, int]
    replaced: tuple[str, ...]

    @property
    def pending(self) -> int:
        """How many records a rewrap has to move."""
        return sum(count for kek_id, count in self.records.items() if kek_id != self.kek_id)


@frozen
class RewrapReport:
    """What a rewrap did.

    Attributes:
        kek_id: the KEK that all records but the damaged ones are sealed under now.
        moved: how many records were sealed anew.
        damaged: those that do not authenticate; they stay as they are, under the KEK before.
        replaced: the KEKs that no record needs any more, from this rewrap and earlier ones.
    """

    kek_id: str
    moved: int
    damaged: tuple[KeyRef, ...]
    replaced: tuple[str, ...]
