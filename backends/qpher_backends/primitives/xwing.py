# SPDX-License-Identifier: Apache-2.0
"""X-Wing over any ML-KEM-768 (draft-connolly-cfrg-xwing-kem, section 5).

seed (32) → SHAKE256(seed, 96) = d ‖ z (64) ‖ X25519 secret (32)
encapsulation key (1216) = ek_M (1184) ‖ pk_X (32);  ciphertext (1120) = ct_M (1088) ‖ ct_X (32)
shared secret (32) = SHA3-256(ss_M ‖ ss_X ‖ ct_X ‖ pk_X ‖ label)
"""

import hashlib
import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from qpher_backends.primitives._one_by_one import Decapsulating, Encapsulating
from qpher_core.errors import DecryptionFailed
from qpher_core.protocols import DecapsulationKey, EncapsulationKey, KemScheme

__all__ = ["XWingScheme"]

_LABEL: Final = bytes.fromhex("5c2e2f2f5e5c")
_EK_M: Final = 1184
_CT_M: Final = 1088
_X_BYTES: Final = 32
_SEED_BYTES: Final = 32
_RANDOMNESS_BYTES: Final = 64


def _combine(ss_m: bytes, ss_x: bytes, ct_x: bytes, pk_x: bytes) -> bytes:
    return hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + _LABEL).digest()


class XWingEncapsulationKey(Encapsulating):
    """An opened X-Wing encapsulation key."""

    __slots__ = ("_mlkem", "_pk_x", "_x25519")

    def __init__(self, mlkem: EncapsulationKey, pk_x: bytes) -> None:
        self._mlkem = mlkem
        self._pk_x = pk_x
        self._x25519 = X25519PublicKey.from_public_bytes(pk_x)

    def encapsulate(self, *, randomness: bytes | None = None) -> tuple[bytes, bytes]:
        """Encapsulate; ``randomness`` is ML-KEM's 32 bytes ‖ the ephemeral X25519 secret."""
        if randomness is not None and len(randomness) != _RANDOMNESS_BYTES:
            raise ValueError(f"randomness must have {_RANDOMNESS_BYTES} bytes")
        m = None if randomness is None else randomness[:32]
        ephemeral = os.urandom(_X_BYTES) if randomness is None else randomness[32:]
        ct_m, ss_m = self._mlkem.encapsulate(randomness=m)
        secret = X25519PrivateKey.from_private_bytes(ephemeral)
        ct_x = secret.public_key().public_bytes_raw()
        try:
            ss_x = secret.exchange(self._x25519)
        except ValueError:  # all-zero: the key holds a point of small order
            raise DecryptionFailed("the X-Wing encapsulation key is not usable") from None
        return ct_m + ct_x, _combine(ss_m, ss_x, ct_x, self._pk_x)


class XWingDecapsulationKey(Decapsulating):
    """An opened X-Wing private key."""

    __slots__ = ("_mlkem", "_pk_x", "_x25519", "encapsulation_key")

    def __init__(self, mlkem: DecapsulationKey, x25519: X25519PrivateKey) -> None:
        self._mlkem = mlkem
        self._x25519: X25519PrivateKey | None = x25519
        self._pk_x = x25519.public_key().public_bytes_raw()
        self.encapsulation_key = mlkem.encapsulation_key + self._pk_x

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the shared secret."""
        if len(ciphertext) != _CT_M + _X_BYTES:
            raise ValueError(f"ciphertext must have {_CT_M + _X_BYTES} bytes")
        if self._x25519 is None:
            raise ValueError("the key is closed")
        ct_m, ct_x = ciphertext[:_CT_M], ciphertext[_CT_M:]
        ss_m = self._mlkem.decapsulate(ct_m)
        try:
            ss_x = self._x25519.exchange(X25519PublicKey.from_public_bytes(ct_x))
        except ValueError:  # all-zero (RFC 7748 section 6.1)
            raise DecryptionFailed from None
        return _combine(ss_m, ss_x, ct_x, self._pk_x)

    def close(self) -> None:
        """Wipe it."""
        self._mlkem.close()
        self._x25519 = None


class XWingScheme:
    """X-Wing over a provider's ML-KEM-768."""

    def __init__(self, mlkem768: KemScheme) -> None:
        self._mlkem = mlkem768

    def generate_seed(self) -> bytes:
        """Return 32 random bytes."""
        return os.urandom(_SEED_BYTES)

    def open_seed(self, seed: bytes) -> XWingDecapsulationKey:
        """Expand a 32-byte seed."""
        if len(seed) != _SEED_BYTES:
            raise ValueError(f"seed must have {_SEED_BYTES} bytes")
        expanded = hashlib.shake_256(seed).digest(96)
        mlkem = self._mlkem.open_seed(expanded[:64])
        return XWingDecapsulationKey(mlkem, X25519PrivateKey.from_private_bytes(expanded[64:]))

    def open_encapsulation_key(self, data: bytes) -> XWingEncapsulationKey:
        """Open a 1216-byte encapsulation key."""
        if len(data) != _EK_M + _X_BYTES:
            raise ValueError(f"encapsulation key must have {_EK_M + _X_BYTES} bytes")
        mlkem = self._mlkem.open_encapsulation_key(data[:_EK_M])
        return XWingEncapsulationKey(mlkem, data[_EK_M:])
