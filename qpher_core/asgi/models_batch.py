# SPDX-License-Identifier: Apache-2.0
"""Models of batches: one key and context for all items, an answer or an error for each."""

from typing import Annotated

import msgspec
from msgspec import Meta

from qpher_core.asgi.envelope import ErrorBody
from qpher_core.asgi.models import AlgorithmName, Context, ContextString, Model, Name, Version
from qpher_core.asgi.models_kem import Decapsulated, Decrypted, Encapsulated, Encrypted
from qpher_core.asgi.models_signatures import Signed, Verified
from qpher_core.asgi.strict_json import Base64

MOST_ITEMS = 1000

Items = Annotated[list[Base64], Meta(min_length=1, max_length=MOST_ITEMS)]


class BatchEncrypt(Model):
    """Encrypt several messages."""

    plaintexts: Items
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"


class BatchDecrypt(Model):
    """Decrypt several messages."""

    ciphertexts: Items
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class BatchEncapsulate(Model):
    """Make several shared secrets."""

    count: Annotated[int, Meta(ge=1, le=MOST_ITEMS)]
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    name: Name = "default"


class BatchDecapsulate(Model):
    """Recover several shared secrets."""

    kem_ciphertexts: Items
    key_version: Version
    algorithm: AlgorithmName | None = None
    name: Name = "default"
    accept_compromised: bool = False


class BatchSign(Model):
    """Sign several messages."""

    messages: Items
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    context_string: ContextString | None = None
    name: Name = "default"


class Pair(Model):
    """A message and its signature."""

    message: Base64
    signature: Base64


class BatchVerify(Model):
    """Verify several signatures."""

    pairs: Annotated[list[Pair], Meta(min_length=1, max_length=MOST_ITEMS)]
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    context_string: ContextString | None = None
    name: Name = "default"
    accept_compromised: bool = False


class EncryptedItem(msgspec.Struct):
    """A result or an error."""

    result: Encrypted | None = None
    error: ErrorBody | None = None


class DecryptedItem(msgspec.Struct):
    """A result or an error."""

    result: Decrypted | None = None
    error: ErrorBody | None = None


class EncapsulatedItem(msgspec.Struct):
    """A result or an error."""

    result: Encapsulated | None = None
    error: ErrorBody | None = None


class DecapsulatedItem(msgspec.Struct):
    """A result or an error."""

    result: Decapsulated | None = None
    error: ErrorBody | None = None


class SignedItem(msgspec.Struct):
    """A result or an error."""

    result: Signed | None = None
    error: ErrorBody | None = None


class VerifiedItem(msgspec.Struct):
    """A result or an error."""

    result: Verified | None = None
    error: ErrorBody | None = None


class EncryptedBatch(msgspec.Struct):
    """A result or an error for each item, in order."""

    items: list[EncryptedItem]


class DecryptedBatch(msgspec.Struct):
    """A result or an error for each item, in order."""

    items: list[DecryptedItem]


class EncapsulatedBatch(msgspec.Struct):
    """A result or an error for each item, in order."""

    items: list[EncapsulatedItem]


class DecapsulatedBatch(msgspec.Struct):
    """A result or an error for each item, in order."""

    items: list[DecapsulatedItem]


class SignedBatch(msgspec.Struct):
    """A result or an error for each item, in order."""

    items: list[SignedItem]


class VerifiedBatch(msgspec.Struct):
    """A result or an error for each item, in order."""

    items: list[VerifiedItem]
