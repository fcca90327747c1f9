# SPDX-License-Identifier: Apache-2.0
"""Messages that are encrypted where the caller is; only the KEM part goes to the service.

    length of the KEM ciphertext (2, big-endian) ‖ KEM ciphertext ‖ iv (12) ‖ ciphertext ‖ tag (16)

AES-256-GCM under the shared secret, with the KEM ciphertext as associated data: the envelope that
the published SDK makes and opens (``encrypt_local``).
"""

import contextlib
import os
from typing import Final, Self

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qpher_core.errors import DecryptionFailed, ValidationError
from qpher_core.models import Receipt
from qpher_core.results import EncapsulateResult
from qpher_core.validation import check_bytes

__all__ = ["EncryptedEnvelope", "open_envelope", "seal_envelope"]

_LENGTH_BYTES: Final = 2
_IV_BYTES: Final = 12


@frozen(kw_only=True)
class EncryptedEnvelope:
    """A message that was encrypted where the caller is.

    Attributes:
        iv: nonce of AES-GCM, 12 bytes.
        aes_ciphertext: ciphertext and its tag of 16 bytes.
        request_id, receipt: of the encapsulation; none where it was read from bytes.
    """

    kem_ciphertext: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    iv: bytes = field(repr=False)
    aes_ciphertext: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    key_version: int
    algorithm: str
    request_id: str = ""
    receipt: Receipt | None = None

    def to_bytes(self) -> bytes:
        """Return it for storage; keep key version and algorithm beside it."""
        length = len(self.kem_ciphertext).to_bytes(_LENGTH_BYTES)
        return length + self.kem_ciphertext + self.iv + self.aes_ciphertext

    @classmethod
    def from_bytes(cls, data: bytes, key_version: int, algorithm: str = "ML-KEM-768") -> Self:
        """Return the envelope that :meth:`to_bytes` wrote.

        Raises:
            ValidationError: the data is too short to be one.
        """
        given = check_bytes(data, "data")
        start = _LENGTH_BYTES + int.from_bytes(given[:_LENGTH_BYTES])
        if len(given) < start + _IV_BYTES:
            raise ValidationError("data must be an envelope", parameter="data")
        return cls(
            kem_ciphertext=given[_LENGTH_BYTES:start],
            iv=given[start : start + _IV_BYTES],
            aes_ciphertext=given[start + _IV_BYTES :],
            key_version=key_version,
            algorithm=algorithm,
        )


def seal_envelope(sent: EncapsulateResult, plaintext: bytes) -> EncryptedEnvelope:
    """Return the envelope of a plaintext under a fresh shared secret."""
    iv = os.urandom(_IV_BYTES)
    return EncryptedEnvelope(
        kem_ciphertext=sent.kem_ciphertext,
        iv=iv,
        aes_ciphertext=AESGCM(sent.shared_secret).encrypt(iv, plaintext, sent.kem_ciphertext),
        key_version=sent.key_version,
        algorithm=sent.algorithm,
        request_id=sent.request_id,
        receipt=sent.receipt,
    )


def open_envelope(envelope: EncryptedEnvelope, shared_secret: bytes) -> bytes:
    """Return the plaintext, or raise :class:`DecryptionFailed`."""
    cipher = AESGCM(shared_secret)
    # Raised outside the handler, so that nothing is chained to it.
    with contextlib.suppress(InvalidTag, ValueError):
        return cipher.decrypt(envelope.iv, envelope.aes_ciphertext, envelope.kem_ciphertext)
    raise DecryptionFailed
