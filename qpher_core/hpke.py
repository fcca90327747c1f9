# SPDX-License-Identifier: Apache-2.0
"""HPKE base mode, single shot, over a KEM shared secret (RFC 9180 sections 5.1 and 6.1).

The KEM itself runs elsewhere (draft-ietf-hpke-pq: its shared secret goes in unchanged); this is
the key schedule with HKDF-SHA256 and the sealing of one message with AES-256-GCM, with empty
associated data: all binding is in ``info``.
"""

import functools
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qpher_core.errors import DecryptionFailed

__all__ = ["OVERHEAD", "KeySchedule", "open_sealed", "seal"]

_KDF_HKDF_SHA256: Final = 0x0001
_AEAD_AES_256_GCM: Final = 0x0002
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MODE_BASE: Final = b"\x00"

#: A block of SHA-256, and what HMAC adds to its key before the text and before the inner digest.
_BLOCK_BYTES: Final = 64
_INNER: Final = int.from_bytes(b"\x36" * _BLOCK_BYTES)
_OUTER: Final = int.from_bytes(b"\x5c" * _BLOCK_BYTES)

#: Bytes that sealing adds to a plaintext.
OVERHEAD: Final = 16


def seal(kem_id: int, shared_secret: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Return ciphertext ‖ tag. The shared secret must be fresh: it gives one key and nonce."""
    return KeySchedule(kem_id, info).seal(shared_secret, plaintext)


def open_sealed(kem_id: int, shared_secret: bytes, info: bytes, sealed: bytes) -> bytes:
    """Return the plaintext, or raise :class:`DecryptionFailed`."""
    plaintext = KeySchedule(kem_id, info).open(shared_secret, sealed)
    if plaintext is None:
        raise DecryptionFailed
    return plaintext


class KeySchedule:
    """KeySchedule of RFC 9180 section 5.1 with an empty psk; the first nonce is the base nonce.

    What does not depend on the shared secret is computed once, for any number of messages.
    """

    __slots__ = ("_key", "_nonce", "_secret")

    def __init__(self, kem_id: int, info: bytes) -> None:
        suite = b"HPKE" + b"".join(
            part.to_bytes(2) for part in (kem_id, _KDF_HKDF_SHA256, _AEAD_AES_256_GCM)
        )
        info_hash = _hmac(_NO_SALT, _labeled(suite, b"info_hash", info))
        context = _MODE_BASE + _psk_id_hash(suite) + info_hash
        self._secret = _labeled(suite, b"secret", b"")
        self._key = _expanded(_KEY_BYTES, _labeled(suite, b"key", context))
        self._nonce = _expanded(_NONCE_BYTES, _labeled(suite, b"base_nonce", context))

    def seal(self, shared_secret: bytes, plaintext: bytes) -> bytes:
        """As the function :func:`seal`."""
        key, nonce = self._derive(shared_secret)
        return AESGCM(key).encrypt(nonce, plaintext, None)

    def open(self, shared_secret: bytes, sealed: bytes) -> bytes | None:
        """Return the plaintext, or None for any cause: the caller raises, with nothing chained."""
        key, nonce = self._derive(shared_secret)
        try:
            return AESGCM(key).decrypt(nonce, sealed, None)
        except (InvalidTag, ValueError):  # ValueError: shorter than a tag
            return None

    def _derive(self, shared_secret: bytes) -> tuple[bytes, bytes]:
        secret = _pads(_hmac(_pads(shared_secret), self._secret))
        return _hmac(secret, self._key)[:_KEY_BYTES], _hmac(secret, self._nonce)[:_NONCE_BYTES]


@functools.cache
def _psk_id_hash(suite: bytes) -> bytes:
    """Return LabeledExtract of the empty psk_id."""
    return _hmac(_NO_SALT, _labeled(suite, b"psk_id_hash", b""))


def _labeled(suite: bytes, label: bytes, data: bytes) -> bytes:
    """Return what LabeledExtract and, behind a length, LabeledExpand hash (section 4)."""
    return b"HPKE-v1" + suite + label + data


def _expanded(length: int, info: bytes) -> bytes:
    """Return what LabeledExpand hashes for its first block (RFC 5869 section 2.3)."""
    return length.to_bytes(2) + info + b"\x01"


def _pads(key: bytes) -> tuple[bytes, bytes]:
    """Return both blocks that HMAC makes of a key of at most 64 bytes (RFC 2104 section 2)."""
    block = int.from_bytes(key.ljust(_BLOCK_BYTES, b"\x00"))
    return (block ^ _INNER).to_bytes(_BLOCK_BYTES), (block ^ _OUTER).to_bytes(_BLOCK_BYTES)


def _hmac(pads: tuple[bytes, bytes], text: bytes) -> bytes:
    """Return HMAC-SHA256: HKDF-Extract, and HKDF-Expand of one block.

    Texts are two or three blocks. OpenSSL's own HMAC takes twice as long for them: it is looked
    up and allocated anew for each.
    """
    inner, outer = pads
    return sha256(outer + sha256(inner + text).digest()).digest()


_NO_SALT: Final = _pads(b"")
