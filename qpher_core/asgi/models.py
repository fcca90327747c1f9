# SPDX-License-Identifier: Apache-2.0
"""Models of the calls that the published SDKs make. They decode requests and write OpenAPI."""

from typing import Annotated

import msgspec
from msgspec import Meta

from qpher_core.asgi.strict_json import Base64

Version = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
AlgorithmName = Annotated[
    str, Meta(description="A canonical name or an alias of the wire, such as Kyber768.")
]
Context = Annotated[dict[str, str], Meta(description="Bound into the result.", max_length=64)]

ContextString = Annotated[
    Base64, Meta(description="FIPS 204's context string itself, instead of context.")
]

KEM = "Kyber768"
SIGNATURE = "Dilithium3"


class Model(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request: unknown members are refused."""


class ReceiptInfo(msgspec.Struct):
    """Where the operation stands in the tenant's audit log; ``hash`` is hexadecimal."""

    seq: int
    hash: str


class Done(msgspec.Struct, kw_only=True):
    """What every answer of an operation on a key has."""

    key_version: int
    algorithm: str
    receipt: ReceiptInfo


class Encrypt(Model):
    """Encrypt a message."""

    plaintext: Base64
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    mode: str = "standard"
    salt: Base64 | None = None
    context: Context | None = None
    name: Name = "default"


class Encrypted(Done, kw_only=True):
    """An encrypted message."""

    ciphertext: bytes


class Decrypt(Model):
    """Decrypt a message."""

    ciphertext: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class Decrypted(Done, kw_only=True):
    """A decrypted message."""

    plaintext: bytes


class Encapsulate(Model):
    """Make a shared secret."""

    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    name: Name = "default"


class Encapsulated(Done, kw_only=True):
    """A shared secret of 32 bytes, and what carries it."""

    kem_ciphertext: bytes
    shared_secret: bytes


class Decapsulate(Model):
    """Recover a shared secret."""

    kem_ciphertext: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    name: Name = "default"
    accept_compromised: bool = False


class Decapsulated(Done, kw_only=True):
    """A shared secret of 32 bytes."""

    shared_secret: bytes


class Wrap(Model):
    """Wrap a symmetric key of 16, 24, 32, 48 or 64 bytes."""

    symmetric_key: Base64
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"


class Wrapped(Done, kw_only=True):
    """A wrapped symmetric key."""

    wrapped_key: bytes
    wrapping_method: str


class Unwrap(Model):
    """Unwrap a symmetric key."""

    wrapped_key: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class Unwrapped(Done, kw_only=True):
    """A symmetric key."""

    symmetric_key: bytes


class Sign(Model):
    """Sign a message."""

    message: Base64
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    context_string: ContextString | None = None
    name: Name = "default"
    deterministic: bool = False


class Signed(Done, kw_only=True):
    """A signature."""

    signature: bytes


class Verify(Model):
    """Verify a signature."""

    message: Base64
    signature: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    context_string: ContextString | None = None
    name: Name = "default"
    accept_compromised: bool = False


class Verified(Done, kw_only=True):
    """Whether a signature is valid."""

    valid: bool


class SignHash(Model):
    """Sign a digest."""

    hash: Base64
    hash_algorithm: str
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    context_string: ContextString | None = None
    name: Name = "default"


class SignedHash(Done, kw_only=True):
    """A signature over a digest."""

    signature: bytes
    hash_algorithm: str
    signature_type: str


class VerifyHash(Model):
    """Verify a signature over a digest."""

    hash: Base64
    hash_algorithm: str
    signature: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    context_string: ContextString | None = None
    name: Name = "default"
    accept_compromised: bool = False


class VerifiedHash(Done, kw_only=True):
    """Whether a signature over a digest is valid."""

    valid: bool
    hash_algorithm: str


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


class WrapFileKey(Model):
    """Wrap the 32-byte key of a file that the caller encrypts."""

    file_key: Base64
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"


class UnwrapFileKey(Model):
    """Return the key of a file from the recipients in its header."""

    recipients: Annotated[list[Base64], Meta(max_length=255)]
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class UnwrappedFileKey(Done, kw_only=True):
    """The key of a file."""

    file_key: bytes


class Rewrap(Model):
    """Wrap a wrapped key anew, by default under the active version of the same key."""

    wrapped_key: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    new_key_version: Version | None = None
    new_algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class KeyList(msgspec.Struct):
    """Key versions, ordered by name, algorithm and version."""

    keys: list[KeyInfo]
    total: int
