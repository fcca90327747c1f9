# SPDX-License-Identifier: Apache-2.0
"""HPKE base mode, single shot, over a KEM shared secret (RFC 9180 sections 5.1 and 6.1).

The KEM itself runs elsewhere (draft-ietf-hpke-pq: its shared secret goes in unchanged); this is
the key schedule with HKDF-SHA256 and the sealing of one message with AES-256-GCM, with empty
associated data: all binding is in ``info``.
"""

import contextlib
import hmac
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

#: Bytes that sealing adds to a plaintext.
OVERHEAD: Final = 16


def seal(kem_id: int, shared_secret: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Return ciphertext ‖ tag. The shared secret must be fresh: it gives one key and nonce."""
    return KeySchedule(kem_id, info).seal(shared_secret, plaintext)


def open_sealed(kem_id: int, shared_secret: bytes, info: bytes, sealed: bytes) -> bytes:
    """Return the plaintext, or raise :class:`DecryptionFailed`."""
    return KeySchedule(kem_id, info).open(shared_secret, sealed)


class KeySchedule:
    """KeySchedule of RFC 9180 section 5.1 with an empty psk; the first nonce is the base nonce.

    What does not depend on the shared secret is computed once, for any number of messages.
    """

    __slots__ = ("_key", "_nonce", "_secret")

    def __init__(self, kem_id: int, info: bytes) -> None:
        suite = b"HPKE" + b"".join(
            part.to_bytes(2) for part in (kem_id, _KDF_HKDF_SHA256, _AEAD_AES_256_GCM)
        )
        context = (
            _MODE_BASE
            + _extract(b"", _labeled(suite, b"psk_id_hash", b""))
            + _extract(b"", _labeled(suite, b"info_hash", info))
        )
        self._secret = _labeled(suite, b"secret", b"")
        self._key = _KEY_BYTES.to_bytes(2) + _labeled(suite, b"key", context)
        self._nonce = _NONCE_BYTES.to_bytes(2) + _labeled(suite, b"base_nonce", context)

    def seal(self, shared_secret: bytes, plaintext: bytes) -> bytes:
        """As the function :func:`seal`."""
        key, nonce = self._derive(shared_secret)
        return AESGCM(key).encrypt(nonce, plaintext, None)

    def open(self, shared_secret: bytes, sealed: bytes) -> bytes:
        """As the function :func:`open_sealed`."""
        key, nonce = self._derive(shared_secret)
        # Raised outside the handler: not even __context__ tells one cause from another.
        with contextlib.suppress(InvalidTag, ValueError):  # ValueError: shorter than a tag
            return AESGCM(key).decrypt(nonce, sealed, None)
        raise DecryptionFailed

    def _derive(self, shared_secret: bytes) -> tuple[bytes, bytes]:
        secret = _extract(shared_secret, self._secret)
        return (
            _expand(secret, self._key)[:_KEY_BYTES],
            _expand(secret, self._nonce)[:_NONCE_BYTES],
        )


def _labeled(suite: bytes, label: bytes, data: bytes) -> bytes:
    """Return what LabeledExtract and, behind a length, LabeledExpand hash (section 4)."""
    return b"HPKE-v1" + suite + label + data


def _extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract (RFC 5869 section 2.2); HMAC pads an empty salt with zeros."""
    return hmac.digest(salt, ikm, "sha256")


def _expand(prk: bytes, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869 section 2.3) of one block, 32 bytes."""
    return hmac.digest(prk, info + b"\x01", "sha256")
