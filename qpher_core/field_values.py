# SPDX-License-Identifier: Apache-2.0
"""Encrypted values of a field: a wrapped key, then the value under a key of its own.

field value = message of kind 5 ‖ salt (16) ‖ AES-256-GCM(value key, type (1) ‖ value)

The message of kind 5 wraps a field key of 32 bytes; values may share it (docs/formats.md).
"""

import contextlib
import hmac
import os
from typing import Final, Self

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qpher_core import hpke, messages
from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import DecryptionFailed
from qpher_core.models import canonical_json

__all__ = ["FIELD_KEY_BYTES", "KEY_MESSAGE_BYTES", "FieldValue", "Secrets", "Value", "seal"]

#: What a field holds.
Value = str | bytes

FIELD_KEY_BYTES: Final = 32

_SALT_BYTES: Final = 16
_TAG_BYTES: Final = 16

#: Length of a wrapped key by algorithm.
KEY_MESSAGE_BYTES: Final = {
    row.name: messages.HEADER_BYTES + row.output_bytes + FIELD_KEY_BYTES + hpke.OVERHEAD
    for row in ALGORITHMS.values()
    if row.hpke_kem_id is not None
}

_NONCE: Final = bytes(12)  # every value has a key of its own
_FORMAT: Final = "qpher-field-value/1"
_DETERMINISTIC: Final = "qpher-field-deterministic/1"
_BYTES, _TEXT = b"\x00", b"\x01"


@frozen
class FieldValue:
    """The parts of an encrypted value.

    Attributes:
        header: of the wrapped key.
        wrapped_key: the message of kind 5.
        salt: 16 random bytes; all zero in deterministic mode.
        sealed: ciphertext and tag.
    """

    header: messages.Header
    wrapped_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    salt: bytes = field(repr=False)
    sealed: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the parts of a value, or raise :class:`DecryptionFailed`."""
        header = messages.read_header(data)
        if header is None or header.kind is not messages.Kind.FIELD_KEY:
            raise DecryptionFailed
        start = KEY_MESSAGE_BYTES[header.algorithm]
        salt_end = start + _SALT_BYTES
        if len(data) < salt_end + len(_BYTES) + _TAG_BYTES:
            raise DecryptionFailed
        return cls(header, data[:start], data[start:salt_end], data[salt_end:])

    @property
    def deterministic(self) -> bool:
        """Whether equal values under the same salt are equal encrypted."""
        return self.salt == bytes(_SALT_BYTES)

    def open(self, field_key: bytes, row: dict[str, str]) -> Value:
        """Return the value, or raise :class:`DecryptionFailed`."""
        cipher = AESGCM(_value_key(field_key, self.salt))
        # Raised outside the handlers, so that nothing is chained to it.
        with contextlib.suppress(InvalidTag):
            opened = cipher.decrypt(_NONCE, self.sealed, _aad(row))
            with contextlib.suppress(UnicodeDecodeError):
                if opened[:1] == _TEXT:
                    return opened[1:].decode()
                if opened[:1] == _BYTES:
                    return opened[1:]
        raise DecryptionFailed


def seal(
    wrapped_key: bytes,
    field_key: bytes,
    value: Value,
    row: dict[str, str],
    *,
    deterministic: bool = False,
) -> bytes:
    """Return the encrypted value. A deterministic field key is of one value alone."""
    salt = bytes(_SALT_BYTES) if deterministic else os.urandom(_SALT_BYTES)
    sealed = AESGCM(_value_key(field_key, salt)).encrypt(_NONCE, _typed(value), _aad(row))
    return wrapped_key + salt + sealed


@frozen
class Secrets:
    """What deterministic mode takes from the caller's salt.

    Attributes:
        values: makes the field key of a value; stays where the caller is.
        keys: makes the encapsulation of a field key; goes to the service.
    """

    values: bytes = field(repr=False)
    keys: bytes = field(repr=False)

    @classmethod
    def of(cls, salt: bytes) -> Self:
        """Derive both from the salt."""
        values, keys = (
            hmac.digest(salt, f"{_DETERMINISTIC} {part}".encode(), "sha256")
            for part in ("values", "keys")
        )
        return cls(values, keys)

    def field_key(self, scope: dict[str, object], value: Value) -> bytes:
        """Return the field key of a value within a scope: tenant, key name and contexts."""
        bound = canonical_json({"format": _DETERMINISTIC, **scope})  # has no zero byte
        return hmac.digest(self.values, bound + b"\x00" + _typed(value), "sha256")


def _value_key(field_key: bytes, salt: bytes) -> bytes:
    """HKDF-Expand (RFC 5869 section 2.3) of one block: the format's name ‖ salt as info."""
    return hmac.digest(field_key, _FORMAT.encode() + salt + b"\x01", "sha256")


def _typed(value: Value) -> bytes:
    return _TEXT + value.encode() if isinstance(value, str) else _BYTES + value


def _aad(row: dict[str, str]) -> bytes:
    return canonical_json({"format": _FORMAT, "row": row})
