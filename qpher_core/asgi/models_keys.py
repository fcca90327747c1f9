# SPDX-License-Identifier: Apache-2.0
"""Models of keys and their states."""

from typing import Annotated

import msgspec
from msgspec import Meta

from qpher_core.asgi.models import AlgorithmName, Done, Model, Name, ReceiptInfo, Version
from qpher_core.asgi.strict_json import Base64


class Generate(Model):
    """Generate a key version."""

    algorithm: AlgorithmName
    name: Name = "default"


class Rotate(Model):
    """Replace the active key version."""

    algorithm: AlgorithmName
    name: Name = "default"


class Import(Model):
    """Store a private key that was wrapped to the import key (docs/formats.md)."""

    algorithm: AlgorithmName
    wrapped: Base64
    name: Name = "default"


class Transition(Model):
    """Move a key version to another state."""

    algorithm: AlgorithmName
    key_version: Version
    name: Name = "default"
    reason: Annotated[str, Meta(max_length=1024)] = ""


class KeyInfo(msgspec.Struct, omit_defaults=True):
    """The public side of a key version. ``created_at`` and ``changed_at`` are RFC 3339, UTC.

    ``receipt`` is there where the request made or changed it.
    """

    key_version: int
    algorithm: str
    status: str
    public_key: bytes
    created_at: str
    name: str
    changed_at: str
    reason: str
    revision: int
    compromised_at: str | None
    receipt: ReceiptInfo | None = None


class GeneratedKey(KeyInfo):
    """A new key version, which is active."""


class Rotated(Done, kw_only=True):
    """A new active key version; the old one is retired."""

    public_key: bytes
    old_key_version: int
    key: KeyInfo


class ActiveParams(Model):
    """Which key."""

    algorithm: AlgorithmName
    name: Name = "default"


class KeyParams(Model):
    """Which key version."""

    key_version: Version
    algorithm: AlgorithmName
    name: Name = "default"


class ListParams(Model):
    """Which key versions; ``after_*`` name the last one of the page before, all three of them."""

    algorithm: AlgorithmName | None = None
    status: str | None = None
    name: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None
    after_name: Name | None = None
    after_algorithm: AlgorithmName | None = None
    after_version: Version | None = None


class Jwk(msgspec.Struct):
    """A public key as a JWK of type AKP; ``kid`` is its thumbprint."""

    alg: str
    kty: str
    pub: str
    kid: str


class ImportKey(msgspec.Struct):
    """The import key that private keys are wrapped to, and the tenant that they are bound to."""

    tenant_id: str
    algorithm: str
    key_version: int
    encapsulation_key: bytes


class PublicKey(msgspec.Struct):
    """A public key as others read it."""

    key_version: int
    algorithm: str
    name: str
    pem: str
    jwk: Jwk | None


class KeyList(msgspec.Struct):
    """Key versions, ordered by name, algorithm and version."""

    keys: list[KeyInfo]
    total: int
