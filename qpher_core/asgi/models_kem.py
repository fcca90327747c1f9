# SPDX-License-Identifier: Apache-2.0
"""Models of encryption, encapsulation and key wrap."""

from typing import Annotated

from msgspec import Meta

from qpher_core.asgi.models import AlgorithmName, Context, Done, Model, Name, Version
from qpher_core.asgi.strict_json import Base64


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
