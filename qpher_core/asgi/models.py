# SPDX-License-Identifier: Apache-2.0
"""Models of the calls that the published SDKs make. They decode requests and write OpenAPI."""

from typing import Annotated

import msgspec
from msgspec import Meta

from qpher_core.asgi.strict_json import Base64

__all__ = [
    "ActiveParams",
    "Decapsulate",
    "Decapsulated",
    "Decrypt",
    "Decrypted",
    "Encapsulate",
    "Encapsulated",
    "Encrypt",
    "Encrypted",
    "Generate",
    "GeneratedKey",
    "KeyInfo",
    "KeyList",
    "KeyParams",
    "ListParams",
    "Model",
    "Rotate",
    "Rotated",
    "Sign",
    "SignHash",
    "Signed",
    "SignedHash",
    "Transition",
    "Unwrap",
    "Unwrapped",
    "Verified",
    "VerifiedHash",
    "Verify",
    "VerifyHash",
    "Version",
    "Wrap",
    "Wrapped",
]

Version = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
AlgorithmName = Annotated[
    str, Meta(description="A canonical name or an alias of the wire, such as Kyber768.")
]
Context = Annotated[dict[str, str], Meta(description="Bound into the result.", max_length=64)]

KEM = "Kyber768"
SIGNATURE = "Dilithium3"


class Model(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request: unknown members are refused."""


class Encrypt(Model):
    """Encrypt a message."""

    plaintext: Base64
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    mode: str = "standard"
    salt: Base64 | None = None
    context: Context | None = None
    name: Name = "default"


class Encrypted(msgspec.Struct):
    """An encrypted message."""

    ciphertext: bytes
    key_version: int
    algorithm: str


class Decrypt(Model):
    """Decrypt a message."""

    ciphertext: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class Decrypted(msgspec.Struct):
    """A decrypted message."""

    plaintext: bytes
    key_version: int
    algorithm: str


class Encapsulate(Model):
    """Make a shared secret."""

    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    name: Name = "default"


class Encapsulated(msgspec.Struct):
    """A shared secret of 32 bytes, and what carries it."""

    kem_ciphertext: bytes
    shared_secret: bytes
    key_version: int
    algorithm: str


class Decapsulate(Model):
    """Recover a shared secret."""

    kem_ciphertext: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    name: Name = "default"
    accept_compromised: bool = False


class Decapsulated(msgspec.Struct):
    """A shared secret of 32 bytes."""

    shared_secret: bytes
    key_version: int
    algorithm: str


class Wrap(Model):
    """Wrap a symmetric key of 16, 24, 32, 48 or 64 bytes."""

    symmetric_key: Base64
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"


class Wrapped(msgspec.Struct):
    """A wrapped symmetric key."""

    wrapped_key: bytes
    key_version: int
    algorithm: str
    wrapping_method: str


class Unwrap(Model):
    """Unwrap a symmetric key."""

    wrapped_key: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class Unwrapped(msgspec.Struct):
    """A symmetric key."""

    symmetric_key: bytes
    key_version: int
    algorithm: str


class Sign(Model):
    """Sign a message."""

    message: Base64
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    deterministic: bool = False


class Signed(msgspec.Struct):
    """A signature."""

    signature: bytes
    key_version: int
    algorithm: str


class Verify(Model):
    """Verify a signature."""

    message: Base64
    signature: Base64
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class Verified(msgspec.Struct):
    """Whether a signature is valid."""

    valid: bool
    key_version: int
    algorithm: str


class SignHash(Model):
    """Sign a digest."""

    hash: Base64
    hash_algorithm: str
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"


class SignedHash(msgspec.Struct):
    """A signature over a digest."""

    signature: bytes
    key_version: int
    algorithm: str
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
    name: Name = "default"
    accept_compromised: bool = False


class VerifiedHash(msgspec.Struct):
    """Whether a signature over a digest is valid."""

    valid: bool
    key_version: int
    algorithm: str
    hash_algorithm: str


class Generate(Model):
    """Generate a key version."""

    algorithm: AlgorithmName
    name: Name = "default"


class Rotate(Model):
    """Replace the active key version."""

    algorithm: AlgorithmName
    name: Name = "default"


class Transition(Model):
    """Move a key version to another state."""

    algorithm: AlgorithmName
    key_version: Version
    name: Name = "default"
    reason: Annotated[str, Meta(max_length=1024)] = ""


class KeyInfo(msgspec.Struct):
    """The public side of a key version. ``created_at`` and ``changed_at`` are RFC 3339, UTC."""

    key_version: int
    algorithm: str
    status: str
    public_key: bytes
    created_at: str
    name: str
    changed_at: str
    reason: str


class GeneratedKey(KeyInfo):
    """A new key version, which is active."""


class Rotated(msgspec.Struct):
    """A new active key version; the old one is retired."""

    key_version: int
    algorithm: str
    public_key: bytes
    old_key_version: int
    name: str
    created_at: str


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
    """Which key versions."""

    algorithm: AlgorithmName | None = None
    status: str | None = None
    name: Name | None = None


class KeyList(msgspec.Struct):
    """Key versions, ordered by name, algorithm and version."""

    keys: list[KeyInfo]
    total: int
