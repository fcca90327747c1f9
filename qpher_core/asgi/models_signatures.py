# SPDX-License-Identifier: Apache-2.0
"""Models of signatures."""

from qpher_core.asgi.models import (
    AlgorithmName,
    Context,
    ContextString,
    Done,
    Model,
    Name,
    Version,
)
from qpher_core.asgi.strict_json import Base64


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
