# SPDX-License-Identifier: Apache-2.0
"""Key encryption keys held in memory, for the protectors that hold them there."""

import secrets
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qpher_core.errors import ProtectorUnavailable

__all__ = ["KEK_BYTES", "KekRing", "kek_id", "new_kek"]

KEK_BYTES: Final = 32
_ID_BYTES: Final = 8


def new_kek() -> bytes:
    """Return a fresh key encryption key."""
    return secrets.token_bytes(KEK_BYTES)


def _derive(kek: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, None, info).derive(kek)


def kek_id(kek: bytes) -> str:
    """Return the id of a KEK. It follows from the KEK, so a wrong one never passes as right."""
    return _derive(kek, b"qpher-core kek id 1", _ID_BYTES).hex()


class KekRing:
    """Implements ``KeyProtector`` over KEKs in memory; the last one seals new records."""

    def __init__(self, keks: list[bytes], where: str) -> None:
        self._keks: Mapping[str, bytes] = {kek_id(kek): kek for kek in keks}
        self._where = where
        self.kek_id = kek_id(keks[-1])

    def __repr__(self) -> str:
        return f"<KekRing of {self._where}>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError("key encryption keys cannot be pickled or copied")

    def derive(self, kek_id: str, info: bytes) -> bytes:
        """Return the 32-byte key derived from a KEK for ``info``."""
        kek = self._keks.get(kek_id)
        if kek is None:
            raise ProtectorUnavailable(f"{self._where} does not hold the KEK {kek_id}")
        return _derive(kek, b"qpher-core derive 1\x00" + info, KEK_BYTES)

    def close(self) -> None:
        """Forget the KEKs."""
        self._keks = {}
